"""Fixtures that these tests share with others."""

from watch_page import browse, chromium  # noqa: F401 (fixtures)
