"""Kept answers: where they are, how many stay, and what is read of another's file."""

import json
import math
import os

import pytest

from flan_jax.errors import UserError
from flan_jax.evaluation import samples

ROW = {"id": "1", "prompt": "Is 3 odd?", "target": "odd", "prediction": "even", "answer": "even", "score": 0.0}


def test_answers_are_read_as_they_were_written_whatever_the_task_is_called(tmp_path):
    odd, said = "of/a:folder.as_other", {**ROW, "answer": "línea\u2028zwei\nthree"}
    samples.write(tmp_path / "eval", odd, [ROW, said])
    assert [(task, samples.read(path)) for task, path in samples.tasks_in(tmp_path / "eval")] == [(odd, [ROW, said])]
    (file,) = (tmp_path / "eval").iterdir()
    assert [task for task, _ in samples.tasks_in(file)] == [odd]


def test_what_json_or_a_file_cannot_hold_ends_no_scoring(tmp_path):
    samples.write(tmp_path, "task", [{**ROW, "answer": "half \udce9", "option_log_probabilities": [-1.0, -math.inf]}])
    ((_, path),) = samples.tasks_in(tmp_path)
    (row,) = samples.read(path)
    assert row["answer"] == "half ?" and row["option_log_probabilities"] == [-1.0, None]
    json.loads(path.read_text(), parse_constant=pytest.fail)


def test_of_a_run_the_scoring_that_was_last_is_taken(tmp_path):
    for age, name in enumerate(("step-20", "eval", "step-100")):
        samples.write(tmp_path / "samples" / name, name, [ROW])
        os.utime(tmp_path / "samples" / name, (1000 - age, 1000 - age))
    assert [task for task, _ in samples.tasks_in(tmp_path)] == ["step-20"]
    samples.keep_newest(tmp_path / "samples", 1)  # by step, not by time or by letters
    assert {path.name for path in (tmp_path / "samples").iterdir()} == {"eval", "step-100"}


@pytest.mark.parametrize("line", ["{", "[1]", json.dumps({"answer": "odd"})])
def test_a_line_that_is_no_sample_is_named(tmp_path, line):
    (tmp_path / "task.jsonl").write_text(json.dumps(ROW) + "\n" + line + "\n")
    with pytest.raises(UserError, match=r"task\.jsonl, line 2: is no sample, wanted an object with a target"):
        samples.read(tmp_path / "task.jsonl")


def test_a_place_without_answers_is_named(tmp_path):
    with pytest.raises(UserError, match="holds no samples"):
        list(samples.tasks_in(tmp_path / "nowhere"))
