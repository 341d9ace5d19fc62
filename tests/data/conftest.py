"""Small data sets in their original formats, and a server for them: see `original_sets.py` beside this file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

SPEC = importlib.util.spec_from_file_location("original_sets", Path(__file__).with_name("original_sets.py"))
assert SPEC is not None
assert SPEC.loader is not None
if "original_sets" not in sys.modules:
    original_sets = sys.modules["original_sets"] = importlib.util.module_from_spec(SPEC)
    SPEC.loader.exec_module(original_sets)
site = sys.modules["original_sets"].site
small = sys.modules["original_sets"].small
known = sys.modules["original_sets"].known
