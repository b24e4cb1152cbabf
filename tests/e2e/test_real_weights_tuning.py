"""A real base model, tuned on real instructions with and without plain text, and asked about tasks it never saw.

    uv run --extra test pytest -m slow -s tests/e2e/test_real_weights_tuning.py

It wants the folder that `python -m tests.parity.real_weights gemma-3-270m` makes, the real data beside the clone, and
half an hour on two cores: a third of the steps, and half of the questions, of the README's table, which the gin file's
own command makes. The runs stay where FLAN_JAX_REAL_RUNS says, and go on from there when it is run again.
"""

import json
import os
import pathlib

import pytest

from tests.parity.real_weights import models_folder
from tests.project import run

NAME = "gemma-3-270m"
RUNS = ("PRETRAINING_FRACTION=0.0", "PRETRAINING_FRACTION=0.1")


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
    corpora_of = lambda found: f"--gin.Data.corpora={ {name: str(path) for name, path in found.items()}!r}"

    def go(*argv):
        done = run(*argv, "--store_dir", place / "stores", cwd=place)
        assert done.code == 0, done.err
        return done.out

    how = ["--gin_file", "super_ni_gemma3_270m.gin", "--init_from", folder, "--steps", "20", "--eval_examples", "10"]
    print(go("sweep", *how, corpora_of(corpora)))
    runs = [place / "runs" / "super_ni_gemma3_270m" / name for name in RUNS]
    rises = []
    for one in runs:
        groups = json.loads((one / "results.json").read_text())["groups"]
        told = {name: group for name, group in groups.items() if name.startswith("held-out")}
        print(one.name, json.dumps(told, indent=1))
        assert groups["held-out tasks"]["after"] > groups["held-out tasks"]["before"]
        text = groups["held-out pretraining: loss"]
        rises.append(text["after"] - text["before"])
    assert rises[1] < rises[0]
    # Web pages, of which neither run has read any.
    go("import", folder, "--output", place / "base")
    corpora["own_text"] = real_data / "plain_text" / "c4_demo_sample.jsonl"
    pages = ["--mixture", "own_text_causal_lm", "--gin.Evaluation.split='validation'", corpora_of(corpora)]
    for one in runs:
        print(go("compare", place / "base", one, *pages))
