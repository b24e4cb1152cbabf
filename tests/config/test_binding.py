"""Gin text is read with the place of each statement, and macros reach the settings that read them."""

import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax import main
from tests.config.caller import SHAPE, resolved, write


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "MIXTURE = starter\n",
            "a.gin:1: 'starter' is not a gin value: a word needs quotes, as in MIXTURE = \"starter\"",
        ),
        ("STEPS = 3\nMIXTURE 'm'\n", "a.gin:2: cannot read"),
        ('MESH = {"data": 1\n', "a.gin: cannot be read as gin"),
        ('include "nowhere.gin"\n', "a.gin:1: no gin file 'nowhere.gin'"),
        ('include "a.gin"\n', "a.gin includes itself"),
        ("import no_such_module\nLoss.function = @no_such_module.fn\n", "a.gin:1: no module 'no_such_module'"),
    ],
)
def test_a_fault_in_a_gin_file_names_its_line(text, told, capsys):
    write("a.gin", text)
    assert main.main(["train", "--gin_file=a.gin"]) == 2
    captured = capsys.readouterr().err
    assert told in captured and captured.count("\n") == 1


def test_a_macro_of_the_users_own_is_read():
    write("a.gin", 'WARM = 7\nMIXTURE = "m"\nSTEPS = %WARM\nOptimizer.warmup_steps = %WARM\n')
    run = resolved("train", "--gin_file=a.gin", "--gin.WARM=9")
    assert (run.steps, run.optimizer.warmup_steps) == (9, 9)


def test_a_setting_may_read_a_macro_that_is_another_settings():
    write("a.gin", "MIXTURE = 'm'\nOptimizer.warmup_steps = 5\nData.split = %MIXTURE\n")
    run = resolved("train", "--gin_file=a.gin", "--gin.Optimizer.warmup_steps=%STEPS", "--steps=40")
    assert (run.optimizer.warmup_steps, run.data.split) == (40, "m")


def test_a_gin_file_may_have_a_byte_order_mark_and_another_encoding_is_named():
    Path("marked.gin").write_bytes("STEPS = 7\n".encode("utf-8-sig"))
    assert resolved("plan", *SHAPE[:2], "--gin_file", "marked.gin").steps == 7
    Path("wide.gin").write_bytes("STEPS = 7\n".encode("utf-16"))
    command = [sys.executable, "-m", "flan_jax.main", "plan", "--gin_file", "wide.gin"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == (
        "flan-jax: wide.gin is text in UTF-16, wanted UTF-8; save it again in that encoding.\n"
    )
