"""`compare`: the verdict on forgetting, of real runs; its arithmetic is tested in tests/evaluation."""

import json
import shutil

import pytest

from flan_jax.commands import compare
from tests.project import check_refused

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def early(trained, tmp_path_factory):
    """The run as it was after ten steps."""
    folder = shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "early")
    for step in (20, 30):
        shutil.rmtree(folder / "checkpoints" / str(step))
    return folder


def test_a_run_beside_itself_has_forgotten_nothing_and_is_not_scored_anew(project, trained, tmp_path, monkeypatch):
    run = shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.setattr(compare, "load_model", None)
    done = project("compare", trained, run, "--forgot")
    assert done.code == 0, done.err
    assert "Nothing was forgotten beyond the noise." in done.out
    kept = json.loads((run / "compare.json").read_text())
    assert kept["mixture"] == "ours_eval" and kept["before"]["step"] == kept["after"]["step"] == 30
    scores = {row["task"]: row["score"] for row in json.loads((run / "scores" / "step-30.json").read_text())["tasks"]}
    assert {row["name"]: row["before"] for row in kept["tasks"]} == scores


def test_a_model_that_can_less_is_told_by_the_exit_code(project, trained, early):
    losses = ["--mixture", "parity,capitals", "--gin.Evaluation.measure='loss'"]
    done = project("compare", trained, early, *losses, "--forgot", "--json")
    assert done.code == 1, done.err
    result = json.loads(done.out)
    assert result["because"] == ["parity: seen templates: loss", "capitals: seen templates: loss", "parity", "capitals"]
    assert all(row["difference"] > row["floor"] > 0 for row in result["tasks"])
    other_way = project("compare", early, trained, *losses, "--forgot")
    assert other_way.code == 0 and "better" in other_way.out, other_way.err
    repeated = project("compare", trained, early, *losses, "--repeats", early)
    assert "from the spread of 2 runs of the recipe" in repeated.out and "Forgotten" in repeated.out, repeated.err
    assert repeated.code == 0  # nobody asked for the exit code


def test_what_cannot_be_compared_is_refused(project, trained, tmp_path):
    check_refused(project("compare", tmp_path / "none", trained), "no run in", "there is no such folder")
    check_refused(project("compare", trained, tmp_path / "none", "--forgot"), "no run in")
    check_refused(project("compare", trained, trained, "--mixture", "ours_evil"), "ours_evil", "'ours_eval'")
    unscored = shutil.copytree(trained, tmp_path / "unscored")
    config = json.loads((unscored / "config.json").read_text())
    (unscored / "config.json").write_text(json.dumps(config | {"eval_mixture": None}))
    check_refused(project("compare", trained, unscored), "has no EVAL_MIXTURE", "--mixture NAME")
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "hf" / "model.safetensors").write_bytes(b"")
    check_refused(project("compare", tmp_path / "hf", trained), "is a Hugging Face folder", "flan-jax import")
