"""Without torch nothing here is imported but the test that says so."""

import importlib.util
import pathlib

HERE = pathlib.Path(__file__).parent
STAYS = ("conftest.py", "test_environment.py")

collect_ignore = [] if importlib.util.find_spec("torch") else [p.name for p in HERE.glob("*.py") if p.name not in STAYS]
