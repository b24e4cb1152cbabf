"""Without torch nothing here is imported but the test that says so."""

import importlib.util
import pathlib

import pytest

HERE = pathlib.Path(__file__).parent
STAYS = ("conftest.py", "test_environment.py")

collect_ignore = [] if importlib.util.find_spec("torch") else [p.name for p in HERE.glob("*.py") if p.name not in STAYS]


@pytest.fixture(scope="session", autouse=True)
def own_cache():
    """Leaves the user's cache in place: real models are kept there between runs."""
