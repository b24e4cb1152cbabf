"""FLAN 2021 whole, on made-up rows of every data set: planned, trained for 20 steps, scored on a cluster."""

import json
import shutil

import pytest

from tests.mixtures.flan2021.mocked import write_all


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A folder with every data set of FLAN 2021, and the pattern that finds them."""
    folder = tmp_path_factory.mktemp("corpora")
    return folder, write_all(folder)


def at(pattern, *more):
    """Flags of a small run that reads corpora there."""
    corpora = f"--gin.Data.corpora={pattern!r}"
    return (corpora, "--model", "tiny.gin", "--batch_size", 4, *more)


def test_it_is_planned_without_any_data(project, monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    done = project("plan", "--mixture", "flan2021", "--estimate", "--json", "--model", "tiny.gin", "--steps", 50)
    assert done.code == 0, done.err
    plan = json.loads(done.out)
    tasks = {task["task"]: task for task in plan["tasks"]}
    assert len(tasks) == 69 == len(plan["from_samples"])
    assert (tasks["cb.with_inverted"]["examples"], tasks["rte.with_inverted"]["examples"]) == (200, 2290)
    assert tasks["glue_qqp.with_inverted"]["rate"] == pytest.approx(15 * tasks["cb.with_inverted"]["rate"])
    assert not list(tmp_path.iterdir())


def test_a_corpus_that_nobody_declares_is_told(project):
    wrong = "--gin.Data.corpora={'rtee': 'tfds', '*': 'hugging_face'}"
    done = project("plan", "--mixture", "rte", "--model", "tiny.gin", "--steps", 1, wrong)
    assert done.code == 2 and "Data.corpora names 'rtee'" in done.err and "did you mean 'rte'" in done.err


def test_it_trains_whole_and_a_cluster_is_scored(project, rows, tmp_path):
    flags = at(rows[1], "--run_dir", tmp_path / "run")
    done = project("train", "--mixture", "flan2021", "--eval_mixture", "flan2021_sentiment_eval", "--steps", 20, *flags)
    assert done.code == 0, done.err
    assert "69 tasks" in done.err + done.out
    kept = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert len(kept["plan"]["tasks"]) == 69
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    scored = {task["task"]: task for task in results["tasks"]}
    assert set(scored) == {"imdb_reviews", "sentiment140", "sst2", "yelp_polarity_reviews"}
    assert all(task["metrics"]["accuracy"] is not None and task["chance"] == 50.0 for task in scored.values())


def test_a_corpus_that_cannot_be_had_ends_the_run_or_is_left_out_by_choice(project, rows, tmp_path):
    some = tmp_path / "some"
    for name in ("sst2", "imdb_reviews"):
        shutil.copytree(rows[0] / name, some / name)
    flags = at(f"{some}/{{corpus}}/{{split}}.jsonl", "--run_dir", tmp_path / "run", "--steps", 2)
    done = project("plan", "--mixture", "flan2021_sentiment", *flags)
    assert done.code == 2
    assert "2 corpora cannot be had" in done.err and "corpus 'sentiment140' cannot be had from" in done.err
    assert "Data.on_missing_corpus='skip'" in done.err
    done = project("plan", "--mixture", "flan2021_sentiment", *flags, "--gin.Data.on_missing_corpus='skip'")
    assert done.code == 0, done.err
    missing = "sentiment140.with_inverted, yelp_polarity_reviews.with_inverted"
    assert f"left out, as their corpora cannot be had or give no rows: {missing}" in done.out
    assert "24,800 examples are declared, 12 were kept" in done.err
