"""Fixtures that these tests share with others."""

from small_map import phantom, recorded, soft  # noqa: F401 (fixtures)
from virtual_screen import screen  # noqa: F401 (fixture)
