"""What hygiene leaves out, as `plan`, `inspect --dropped` and `tasks --overlap` show it, and a run trains without."""

import contextlib
import json

import pytest

from tests.project import MODELS, check_refused, run

HYGIENE = ["--gin.Hygiene.duplicates='near'", "--gin.Hygiene.contamination='drop'", "--gin.Hygiene.ngram=8"]


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.fixture
def command(leaky, stores, monkeypatch):
    """Runs a command from the folder of the leaky tasks, by the data process that all tests share."""
    from flan_jax import setup

    folder, worker = leaky
    (folder / "tiny.gin").write_text(MODELS["tiny.gin"])
    monkeypatch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))

    def do(name, *argv):
        how = ["--model", "tiny.gin", "--steps", 4, "--batch_size", 2, "--mesh", "data=1", "--store_dir", stores]
        how += ["--feature_lengths", "inputs=512,targets=512", "--module", "leaky_tasks"]
        return run(name, *how, *argv, cwd=folder, compiled=stores / "compiled")

    return do


def test_the_plan_says_what_is_left_out_and_why(command):
    done = command("plan", "--mixture", "all_birds", "--eval_mixture", "evals", *HYGIENE)
    assert done.code == 0, done.err
    for line in (
        "left out by Hygiene, duplicate: 2 examples (birds 1, more_birds 1)",
        "left out by Hygiene, near duplicate: 1 example (birds 1)",
        "left out by Hygiene, overlap: 1 example (birds 1)",
        "left out by Hygiene, eval row: 1 example (more_birds 1)",
    ):
        assert line in done.out, done.out
    assert "leak:" not in done.out
    table = json.loads(command("plan", "--mixture", "all_birds", "--eval_mixture", "evals", *HYGIENE, "--json").out)
    assert {row["task"]: row["examples"] for row in table["tasks"]} == {"birds": 10, "more_birds": 1}
    assert table["hygiene"]["tasks"][0]["left_out"] == {"duplicate": 1, "near duplicate": 1, "overlap": 1}
    assert table["leaks"] == []


def test_a_leak_is_told_in_the_plan_and_refused_by_choice(command):
    how = ["plan", "--mixture", "all_birds", "--eval_mixture", "evals"]
    done = command(*how)
    assert done.code == 0 and "leak: 1 row that 'nests' scores is trained on in 'more_birds'" in done.out
    done = command(*how, "--gin.Hygiene.on_leak='refuse'")
    check_refused(done, "MIXTURE 'all_birds' holds what EVAL_MIXTURE 'evals' scores", "Hygiene.contamination = 'drop'")
    assert command(*how, "--gin.Hygiene.on_leak='refuse'", *HYGIENE).code == 0


def test_a_run_trains_on_what_is_left_and_its_folder_shows_it(command, leaky, loader_of, tmp_path, monkeypatch):
    run_dir, how = tmp_path / "run", ["--mixture", "birds", "--gin.Hygiene.duplicates='exact'"]
    done = command("train", *how, "--run_dir", run_dir)
    assert done.code == 0, done.err
    kept = json.loads((run_dir / "plan.json").read_text())
    assert kept["plan"]["tasks"][0]["count"] == 12 and kept["table"]["hygiene"]["left_out"] == {"duplicate": 1}
    monkeypatch.setattr(leaky[1], "call", lambda op, **_: pytest.fail(f"the data process was asked for {op}"))
    done = command("inspect", "--run_dir", run_dir, "--step", 4)
    assert done.code == 0 and "example birds:" in done.out, done.err
    # The same command goes on, and knows its plan again; another choice is another plan.
    assert "is finished" in command("train", *how, "--run_dir", run_dir).out
    done = command("train", "--mixture", "birds", "--run_dir", run_dir)
    check_refused(done, "was trained by another plan", "'birds' had 12 examples, has 13")


def test_what_is_dropped_is_shown_with_its_twin_and_its_span(command):
    how = ["inspect", "--dropped", "--mixture", "all_birds", "--eval_mixture", "evals", *HYGIENE]
    done = command(*how)
    assert done.code == 0, done.err
    shown = [" ".join(part.split()) for part in done.out.split("=== ")[1:]]
    assert len(shown) == 5
    assert shown[0].startswith("birds example birds:10: duplicate") and "with birds birds:2" in shown[0]
    assert "birds:11: near duplicate (8" in shown[1] and "% alike)" in shown[1]
    assert "birds:12: overlap (20 words)" in shown[2] and "shares: w100x5 w100x6" in shown[2]
    assert "nests.jsonl:1" in shown[2]
    assert "5 examples of all_birds left out" in done.out
    done = command(*how, "--task", "more_birds", "--num", 1)
    assert done.out.count("===") == 1 and "2 examples of more_birds left out" in done.out
    check_refused(command(*how, "--task", "more_brids"), "no task of 'all_birds'; did you mean 'more_birds'")
    check_refused(command("inspect", "--dropped", "--mixture", "birds"), "none of its settings asks for anything")
    check_refused(command(*how, "--step", 1), "--dropped shows what no step trains on")


def test_the_overlap_of_two_mixtures_is_shown_row_by_row(command, stores):
    done = command("tasks", "--overlap", "all_birds", "evals", "--ngram", 8)
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert "=== birds (train) and nests (validation) --- 20 words: w100x5" in words
    assert "birds.jsonl:13: w12x0" in words and "nests.jsonl:1: w100x0" in words
    assert "=== more_birds (train) and nests (validation) --- the whole prompt: w101x0" in words
    assert "2 rows of 16 in 'all_birds' share 8 words in a row, or a whole prompt, with 3 rows of 'evals'" in words
    none = command("tasks", "--overlap", "birds", "evals", "--ngram", 21)
    assert none.code == 0 and "0 rows of 13" in none.out
    check_refused(command("tasks", "--overlap", "all_brids", "evals"), "did you mean 'all_birds'")
    check_refused(command("tasks", "--ngram", 8), "--ngram goes with --overlap")
    check_refused(command("tasks", "--overlap", "birds", "evals", "--ngram", 1), "--ngram is 1, wanted 2 to 64")
    check_refused(command("tasks", "--overlap", "birds", "evals", "--check"), "leave --check")


@pytest.mark.parametrize(
    ("binding", "said"),
    [
        ("duplicates='some'", "one of 'keep', 'exact', 'near', got 'some'"),
        ("similarity=0", "Hygiene: similarity is 0.0, wanted more than 0"),
        ("ngram=1", "Hygiene: ngram is 1, wanted 2 to 64"),
        ("min_words=-1", "Hygiene: min_words is -1"),
        ("max_words=0", "Hygiene: max_words is 0, wanted 1 or more"),
        ("languages=('english',)", "languages names 'english', wanted codes of two letters"),
        ("keep='my module'", "keep is 'my module', wanted 'package.module:function'"),
        ("against=('evals',)", "against names mixtures, and contamination is 'keep'"),
        ("contamination='drop'", "neither EVAL_MIXTURE nor Hygiene.against"),
    ],
)
def test_settings_that_mean_nothing_are_told(command, binding, said):
    check_refused(command("plan", "--mixture", "birds", f"--gin.Hygiene.{binding}"), said)
