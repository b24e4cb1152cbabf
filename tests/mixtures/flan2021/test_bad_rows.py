"""Rows that a real data set may hold: told with data set, split and row, or left out and counted."""

import dataclasses
import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.examples import Tally, examples
from flan_jax.tasks.sources import corpus
from tests.mixtures.flan2021.goldens import TASKS

RTE, ARC, TRIVIA = (TASKS[name].source.sample for name in ("rte", "arc_easy", "trivia_qa"))


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads a sound row and another of a data set from a file, by the strictness that is asked for."""
    import seqio

    from flan_jax.tasks import registry

    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_RECIPES", {})

    def go(name, row, on_bad_row, inputs=128):
        task = dataclasses.replace(TASKS[name], on_bad_row=on_bad_row)
        text = row if isinstance(row, bytes) else json.dumps(row).encode()
        (tmp_path / "train.jsonl").write_bytes(json.dumps(task.source.sample).encode() + b"\n" + text + b"\n")
        corpus.use(corpus.RunCorpora(f"{tmp_path}/{{split}}.jsonl"))
        task.register()
        tally = Tally()
        return list(examples(name, "train", {"inputs": inputs, "targets": 32}, tally=tally)), tally

    yield go
    corpus.use(corpus.RunCorpora())


BAD = [
    (
        "rte",
        {key: RTE[key] for key in ("premise", "label")},
        r"train.jsonl:2: template .* names the field 'hypothesis'",
    ),
    ("rte", {**RTE, "premise": None}, r"train.jsonl:2: field 'premise' of template .* is null"),
    ("rte", {**RTE, "label": 2}, r"train.jsonl:2: the answer 2 is not among the options"),
    ("rte", {**RTE, "label": -1}, r"train.jsonl:2: the answer -1 is not among the options"),
    ("arc_easy", {**ARC, "answerKey": 7}, r"train.jsonl:2: its preprocess function '_fields' failed with IndexError"),
    ("trivia_qa", {"question": "Who?"}, r"train.jsonl:2: its preprocess function .* failed with KeyError: 'answer'"),
    ("rte", b'{"premise": "a', r"train.jsonl:2: "),
]


@pytest.mark.parametrize(("name", "row", "said"), BAD)
def test_a_bad_row_is_told_with_its_place_or_counted(read, name, row, said):
    with pytest.raises(UserError, match=said) as told:
        read(name, row, "error")
    assert name in str(told.value) or "train.jsonl" in str(told.value)


@pytest.mark.parametrize(("name", "row", "said"), BAD)
def test_a_bad_row_is_counted_where_the_task_skips_them_as_all_of_these_do(read, name, row, said):
    assert TASKS[name].on_bad_row == "skip"
    found, tally = read(name, row, "skip")
    assert len(found) == 1 and tally.bad_rows == 1 and tally.read == 2


def test_a_row_with_an_empty_answer_is_left_out_and_counted(read):
    found, tally = read("samsum", {**TASKS["samsum"].source.sample, "summary": " "}, "error")
    assert len(found) == 1 and tally.dropped == 1


def test_a_text_of_2_mb_loses_its_end_and_nothing_of_the_instruction(read):
    long = {**RTE, "premise": "The mill stood by the river. " * 70_000}
    found, tally = read("rte", long, "error", inputs=96)
    assert len(found) == 2 and tally.truncated == 1 and len(found[1].inputs) <= 96
    assert "library" in found[1].inputs_text and len(found[1].options) == 2


def test_bytes_that_are_no_utf_8_are_told(read):
    row = json.dumps({**RTE, "premise": "caf?"}).encode().replace(b"caf?", b"caf\xe9")
    found, tally = read("rte", row, "skip")
    assert len(found) == 1 and tally.bad_rows == 1
