"""Gin is code: nothing of it is called before all else was checked, nor for a command that does not show it."""

import sys

import pytest

from flan_jax.errors import UserError
from tests.config.caller import resolved

CALLED = """
def seven(at):
    open(at, "a").write("called ")
    return 7

def fails():
    raise OSError("the disk is gone")

def leaves():
    raise SystemExit("bye")

def handed(learning_rate, decay=0.0):
    raise NotImplementedError
"""


@pytest.fixture
def resolve(tmp_path):
    """What a command does before its own work begins: reads, checks and binds; gives how often `seven` was called."""
    (tmp_path / "called.py").write_text(CALLED)

    def resolve(command, text):
        (tmp_path / "run.gin").write_text(f"import called\nseven.at = 'seen'\n{text}\n")
        told = ""
        try:
            resolved(command, "--gin_file", "run.gin")
        except UserError as fault:
            told = str(fault)
        finally:
            sys.modules.pop("called", None)
        seen = tmp_path / "seen"
        return told, len(seen.read_text().split()) if seen.exists() else 0

    return resolve


# Each in the order: the command, what the gin file says, what is told, and how often `seven` was called.
CASES = {
    "a fault beside it": ("train", "MIXTURE = 'm'\nSTEPS = @seven()\nBATCH_SIZE = 0", "BATCH_SIZE is 0", 0),
    "an unknown name beside it": ("train", "MIXTURE = 'm'\nSTEPS = @seven()\nSTESP = 1", "did you mean 'STEPS'", 0),
    "sound, and for training": ("train", "MIXTURE = 'm'\nSTEPS = @seven()", "", 1),
    "not shown by the command": ("plan", "MIXTURE = 'm'\nSTEPS = 2\nOptimizer.b1 = @seven()", "", 0),
    "shown by the command": ("plan", "MIXTURE = 'm'\nSTEPS = @seven()", "", 1),
    "beneath what is handed over": (
        "plan",
        "MIXTURE = 'm'\nSTEPS = 2\nOptimizer.factory = @handed\nhanded.decay = @seven()",
        "",
        0,
    ),
    "by way of a macro": ("plan", "MIXTURE = 'm'\nSTEPS = 2\nX = @seven()\nOptimizer.b1 = %X", "", 0),
    "one that fails": (
        "train",
        "MIXTURE = 'm'\nSTEPS = @fails()",
        "run.gin:4: STEPS = @fails() failed with OSError: the disk is gone",
        0,
    ),
    "one that leaves": ("train", "MIXTURE = 'm'\nSTEPS = @leaves()", "failed with SystemExit: bye", 0),
    "a macro of itself": ("train", "MIXTURE = 'm'\nSTEPS = %X\nX = %STEPS", "is set by way of itself", 0),
}


@pytest.mark.parametrize("name", CASES)
def test_a_call_is_made_only_where_it_is_needed_and_after_the_checks(resolve, name):
    command, text, words, calls = CASES[name]
    told, called = resolve(command, text)
    assert words in told if words else not told, told
    assert called == calls


def test_tasks_calls_nothing_of_a_gin_file(resolve):
    assert resolve("tasks", "import os\nLEARNING_RATE = @seven()\nINIT_FROM = @os.system()\n") == ("", 0)
