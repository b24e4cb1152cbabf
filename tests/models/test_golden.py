"""Every family against what transformers gave for the same folder; `tests/parity` makes those figures and more.

By default every family's logits and round trip are compared, and the rest of those that between them have every part of
the arithmetic; of the others with `-m slow`.
"""

import pathlib

import numpy as np
import pytest

from flan_jax.models.hugging_face import read_folder
from tests.models.measured import (
    Ours,
    batch_of,
    changed_by_a_round_trip,
    differences,
    gradients_apart,
    read_figures,
    relative,
)

GOLDEN = pathlib.Path(__file__).parents[1] / "testdata" / "golden"
FAMILIES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
ALWAYS = ("t5", "umt5", "llama3", "qwen2", "gemma3", "olmo2")


def test_the_figures_say_something():
    assert len(FAMILIES) == 14 and set(ALWAYS) < set(FAMILIES)
    for name in FAMILIES:
        figures, eos_id = read_figures(GOLDEN / name)
        ended = (figures.greedy == eos_id).any(axis=1)
        assert ended.any() and not ended.all(), name
        assert len({tuple(row) for row in figures.greedy.tolist()}) > 2, name
        assert (figures.greedy != figures.beam).any(), name
        assert all(np.abs(value).max() > 0 for value in figures.gradient.values()), name
        assert figures.losses[-1] != figures.losses[0], name


@pytest.mark.parametrize("name", FAMILIES)
def test_logits_and_round_trip(name, tmp_path):
    folder = read_folder(GOLDEN / name)
    theirs, _ = read_figures(folder.path)
    ours = Ours(folder)
    padded, packed = ours.logits(batch_of(ours.config, 0))
    assert relative(padded, theirs.padded) < 1e-5
    assert relative(packed, theirs.packed) < 1e-5
    assert changed_by_a_round_trip(folder, tmp_path / "back") == []


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in FAMILIES]
)
def test_training_and_answers(name):
    folder = read_folder(GOLDEN / name)
    theirs, eos_id = read_figures(folder.path)
    ours = Ours(folder).figures(eos_id)
    found = differences(ours, theirs)
    assert found["loss"] < 1e-5, found
    assert gradients_apart(ours, theirs) == {}
    assert found["adamw"] < 1e-4, found
    assert found["greedy"] == found["beam"] == 0, found
    assert found["scores"] < 1e-4, found  # small differences of large logits
