"""The helpers beside these tests; importlib mode leaves them out of reach."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
