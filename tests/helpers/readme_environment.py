"""Hides every package that the README's own install does not bring: ``python -c "import readme_environment; …"``.

As a pytest plugin (``-p readme_environment``, this folder on PYTHONPATH) pytest and what it needs stay visible.
What a test extra brings along has hidden faults of the plain install before.
"""

from hidden_packages import hide_all_but

TOOLS = (
    "pytest",
    "pytest-cov",
    "slipcover",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "pip",
    "setuptools",
)

hide_all_but("slads-bluesky", *TOOLS)
