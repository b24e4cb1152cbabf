"""A real base model, tuned on real instructions with and without plain text, and asked about tasks it never saw.

    uv run --extra test pytest -m slow -s tests/e2e/test_real_weights_tuning.py

It wants the folder that `python -m tests.parity.real_weights gemma-3-270m` makes, the real data beside the clone, and
hours on two cores. The runs stay where FLAN_JAX_REAL_RUNS says, and go on from there when it is run again.
"""

import json
import os
import pathlib

import pytest

from tests.parity.real_weights import models_folder
from tests.project import run

NAME, FRACTIONS = "gemma-3-270m", (0.0, 0.1)


@pytest.fixture
def folder():
    """The model's folder; skipped where nobody has made it."""
    if not (path := models_folder() / NAME).exists():
        pytest.skip(f"no folder of {NAME}: make it by `python -m tests.parity.real_weights {NAME}`")
    return path


@pytest.mark.slow
def test_tuning_helps_on_held_out_tasks_and_plain_text_keeps_what_was_known(folder, real_data, tmp_path):
    place = pathlib.Path(os.environ.get("FLAN_JAX_REAL_RUNS", tmp_path))
    corpora = {"super_natural_instructions": real_data / "super_natural_instructions"}
    corpora["own_text"] = real_data / "plain_text" / "*.txt"
    data = f"--gin.Data.corpora={ {name: str(path) for name, path in corpora.items()}!r}"
    stores = ["--store_dir", place / "stores"]

    def go(*argv):
        done = run(*argv, *stores, cwd=place)
        assert done.code == 0, done.err
        return done.out

    go("import", folder, "--output", place / "base")
    for fraction in FRACTIONS:
        how = ["--gin_file", "super_ni_gemma3_270m.gin", "--init_from", folder, data]
        go("train", *how, "--pretraining_fraction", fraction, "--run_dir", place / f"text-{fraction}")
    text = ["--mixture", "own_text_causal_lm", "--gin.Evaluation.split='validation'"]
    rises = []
    for fraction in FRACTIONS:
        runs = [place / "base", place / f"text-{fraction}"]
        instructions, pretraining = (json.loads(go("compare", *runs, *what, "--json", data)) for what in ([], text))
        print(fraction, json.dumps([*instructions["groups"], *pretraining["groups"]], indent=1))
        assert all(row["difference"] > 0 for row in instructions["groups"] if row["name"].startswith("held-out tasks"))
        rises.append(pretraining["groups"][0]["difference"])
    assert rises[1] < rises[0]
