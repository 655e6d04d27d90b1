"""Fixtures that these tests share with others."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # importlib mode leaves the helpers out of reach

from small_map import phantom, recorded, soft  # noqa: F401 (fixtures)
