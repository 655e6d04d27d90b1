"""Modules and imports of a package that Python finds on its path, as JSON: a script, run by `architecture`.

It imports nothing of this package, since the tree that it reads may be another checkout.
"""

import json
import sys

import grimp

if __name__ == "__main__":
    graph = grimp.build_graph(sys.argv[1], cache_dir=None, exclude_type_checking_imports=True)
    arrows = sorted(
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    )
    json.dump({"modules": sorted(graph.modules), "arrows": arrows}, sys.stdout)
