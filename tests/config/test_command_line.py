"""`--help`, and the command lines that it shows."""

import shlex

import pytest

from flan_jax import main
from flan_jax.config import command_line
from flan_jax.config.macros import MACROS


@pytest.mark.parametrize("command", [[], *([name] for name in command_line.COMMANDS)])
def test_help_shows_examples(command, capsys):
    assert main.main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert (
        "flan-jax train --gin_file=quickstart.gin" in out or f"flan-jax {command[0]} " in out.partition("examples:")[2]
    )
    for name in MACROS if command else ():
        assert f"--{name.lower()} " in out


def test_examples_in_help_are_understood():
    lines = [line.split("   ")[0].strip() for text in command_line.EPILOGS.values() for line in text.splitlines()]
    examples = [line for line in lines if line.startswith("flan-jax ")]
    assert len(examples) > 15
    for example in examples:
        command_line.parse(shlex.split(example.partition(" > ")[0])[1:])
