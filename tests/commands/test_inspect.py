"""`inspect`: what it prints of a step is what the step trained on; a task is shown straight from its source."""

import re
import shutil

import pytest

from flan_jax.commands.inspect import draw_row
from tests.project import check_refused, run


def printed(out):
    """The segments that `inspect` shows, row by row: (task, id, input ids, target ids, tokens with marks)."""
    found = []
    for part in out.split("\n=== row ")[1:]:
        segments = re.findall(
            r"--- segment \d+: (\S+)  example (.*?)  epoch (\d+)  draw (\d+).*?\n   ids: \[(.*?)\].*?"
            r"\n   ids: \[(.*?)\]\n   tokens \(\* bears loss\): (.*?)(?=\n|$)",
            part,
            re.DOTALL,
        )
        numbers = lambda text: [int(word) for word in text.split(",") if word.strip()]
        found.append([(t, i, int(e), int(d), numbers(a), numbers(b), m) for t, i, e, d, a, b, m in segments])
    return found


@pytest.mark.parametrize("step", [1, 17])
def test_a_step_is_shown_as_the_loader_makes_it(project, trained, loader_of, step):
    loader = loader_of(trained)
    done = project("inspect", "--run_dir", trained, "--step", step, "--num", 8)
    assert done.code == 0, done.err
    # Steps count from 1, as in metrics.jsonl; the loader's batches from 0.
    shown, batch = printed(done.out), loader.batch(step - 1)
    assert len(shown) == 8
    for row, (segments, contents) in enumerate(zip(shown, loader.contents(step - 1), strict=True)):
        assert [(epoch, draw) for _, _, epoch, draw, *_ in segments] == [(e, d) for _, _, d, e in contents]
        for segment, (task, index, draw, _) in zip(segments, contents, strict=True):
            assert segment[0] == loader.plan.tasks[task].name
            assert segment[1] == loader.store(task, draw).id(index)
        for name, place in (("encoder_input_tokens", 4), ("decoder_target_tokens", 5)):
            ids = [token for segment in segments for token in segment[place]]
            assert batch[name][row, : len(ids)].tolist() == ids and not batch[name][row, len(ids) :].any()
        marked = sum(segment[6].count("* ") + segment[6].endswith("*") for segment in segments)
        assert marked == batch["decoder_loss_weights"][row].sum()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--mixture", "capitals"], ["MIXTURE was 'ours', is 'capitals'"]),
        (["--batch_size", 4], ["BATCH_SIZE was 8, is 4"]),
        (["--feature_lengths", "inputs=64,targets=20"], ["FEATURE_LENGTHS", "'targets': 16", "'targets': 20"]),
        (["--gin_file", "run.gin", "--mixture", "capitals"], ["MIXTURE was 'ours', is 'capitals'"]),
    ],
)
def test_rows_that_the_run_did_not_train_on_are_not_shown_as_its_own(project, trained, argv, words):
    check_refused(project("inspect", "--run_dir", trained, *argv), *words, "leave those out")


def test_a_run_is_shown_without_its_tasks(project, trained, tmp_path, monkeypatch):
    from flan_jax.data.worker import Worker

    def asked(self, op, **arguments):
        raise AssertionError(f"the data process was asked for {op}")

    monkeypatch.setattr(Worker, "call", asked)
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    done = run("inspect", "--run_dir", moved, "--step", 3, "--num", 2, cwd=tmp_path)
    assert done.code == 0, done.err
    assert done.out == project("inspect", "--run_dir", trained, "--step", 3, "--num", 2).out != ""


def test_a_step_that_is_none_is_told(project, trained):
    check_refused(project("inspect", "--run_dir", trained, "--step", 0), "--step is 0", "count from 1")
    wanted = "has 30 steps; give one of 1 to 30"
    check_refused(project("inspect", "--run_dir", trained, "--step", 999), "--step is 999", wanted)


def test_a_saved_template_is_seen_at_once_and_nothing_is_prepared_for_it(project, tmp_path):
    shutil.copytree(project.folder, tmp_path / "edited", ignore=shutil.ignore_patterns("__pycache__"))
    tasks = tmp_path / "edited/user_tasks.py"
    tasks.write_text(tasks.read_text().replace("What is the capital of {country}?", "{country}: its chief town?"))
    argv = ["--task", "capitals", "--module", "user_tasks", "--num", 8, "--store_dir", tmp_path / "stores"]
    done = run("inspect", *argv, "--feature_lengths", "inputs=64,targets=16", cwd=tmp_path / "edited")
    assert done.code == 0, done.err
    assert re.search(r"inputs:  Country \d+: its chief town\?", done.out) and "What is the capital" not in done.out
    first = done.out.split("===")[2]
    assert "target ids: [" in first and "*" in first.split("(* bears loss):")[1]
    assert not (tmp_path / "stores").exists()


@pytest.mark.usefixtures("warm")
def test_a_task_of_other_code_and_a_mistyped_one(project):
    done = project("inspect", "--gin_file", "run.gin", "--task", "shout", "--num", 2)
    assert done.code == 0 and "inputs:  say 0" in done.out and "inputs:  say 1" in done.out
    done = project("inspect", "--gin_file", "run.gin", "--task", "parity", "--num", 1)
    assert "options: ['odd', 'even']" in done.out.replace('"', "'")
    check_refused(project("inspect", "--gin_file", "run.gin", "--task", "shuot"), "did you mean 'shout'")


@pytest.mark.usefixtures("warm")
def test_the_first_step_of_a_run_to_come(project, trained):
    there = project("inspect", "--gin_file", "run.gin", "--run_dir", "none", "--num", 2)
    assert there.code == 0, there.err
    assert printed(there.out) == printed(project("inspect", "--run_dir", trained, "--num", 2).out) != []


def test_a_drawn_row_keeps_its_width():
    for lengths in ([64], [30, 20], [1] * 60, []):
        assert len(draw_row(lengths, 64).split(" ")[0]) < 64 + len(lengths) + 2
