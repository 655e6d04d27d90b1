"""The site: Sphinx with MyST; its reference is generated from the program (``_ext/generated.py``)."""

import sys
from importlib.metadata import version as _version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "slads-bluesky"
author = "The slads-bluesky developers"
copyright = "The slads-bluesky developers, BSD-3-Clause"
version = release = _version("slads-bluesky")

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "generated", "pictures"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_ext"]
default_role = "py:obj"
language = "en"

# docstrings
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc's Parameters say them, with shapes and units
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

# pages
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"slads-bluesky {release}"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
pygments_style = "friendly"
pygments_dark_style = "monokai"
