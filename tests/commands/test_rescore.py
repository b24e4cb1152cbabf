"""Answers that a run kept, scored by other metrics."""

import json

import pytest

from flan_jax.evaluation import samples
from tests.project import check_refused, run

METRICS = """
def same(targets, predictions):
    return {"same": 100 * sum(map(str.__eq__, targets, predictions)) / len(targets)}


def letters(targets, predictions):
    if any(not said for said in predictions):
        raise ValueError("an answer is empty")
    return {"letters": sum(map(len, predictions)) / len(predictions)}


def broken(targets, predictions):
    return 1 / 0
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a module of metrics, and a run of two tasks that kept its answers."""
    (tmp_path / "own_metrics.py").write_text(METRICS)
    monkeypatch.syspath_prepend(str(tmp_path))
    row = lambda target, said, score: {"target": target, "prediction": said, "answer": said, "score": score}
    kept = tmp_path / "run" / "samples" / "eval"
    samples.write(kept, "parity", [row("odd", "odd", 100.0), row("even", "odd", 0.0)])
    samples.write(kept, "free", [row("a", "", None), row("b", "four", None)])
    return tmp_path


def test_each_tasks_answers_are_scored_anew(place):
    done = run("rescore", "run", "--metric", "own_metrics.same", "--json", cwd=place)
    rows = {row["task"]: row for row in json.loads(done.out)["tasks"]}
    assert done.code == 0
    assert rows["parity"] == {"task": "parity", "examples": 2, "score": 50.0, "same": 50.0}
    assert rows["free"] == {"task": "free", "examples": 2, "score": None, "same": 0.0}
    table = run("rescore", "run/samples/eval/parity.jsonl", "--metric", "own_metrics.same", cwd=place).out
    assert "parity" in table and "free" not in table and "2 answers of 1 task" in table


def test_a_metric_that_raises_on_a_row_leaves_that_row_out(place):
    done = run(
        "rescore", "run", "--metric", "own_metrics.letters", "--metric", "own_metrics.broken", "--json", cwd=place
    )
    rows = {row["task"]: row for row in json.loads(done.out)["tasks"]}
    assert done.code == 1 and rows["parity"]["own_metrics.letters: letters"] == 3.0
    assert rows["free"]["own_metrics.letters: letters"] == 4.0
    assert "'own_metrics.letters' of task 'free' raised ValueError: an answer is empty, on 1 of 2 answers" in done.err
    assert (
        "'own_metrics.broken' of task 'parity' raised ZeroDivisionError: division by zero, on each answer" in done.err
    )


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run"], "rescore has no metric"),
        (["run", "--metric", "own_metrics.none"], "--metric is 'own_metrics.none', and there is no such function"),
        (["run", "--metric", "same"], "wanted PACKAGE.FUNCTION"),
        (["elsewhere", "--metric", "own_metrics.same"], "elsewhere holds no samples, wanted a run"),
    ],
)
def test_what_cannot_be_scored_is_told(place, argv, said):
    check_refused(run("rescore", *argv, cwd=place), said)
