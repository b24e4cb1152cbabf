"""Each thing that a user can get wrong ends in one readable sentence and code 2, and nothing saved is lost."""

import dataclasses
import json
import shutil

import pytest

from flan_jax import setup
from tests.project import Done, check_refused, fill, losses, run

BAD_TASKS = """
import os
from flan_jax.tasks import InstructionTask, jsonl, mixture
from user_tasks import BYTES
import seqio

HERE = os.path.dirname(os.path.abspath(__file__))


def task(name, file, template="Say {word}.", on_bad_row=None, split=None, **more):
    source = jsonl(HERE + "/" + file, on_bad_row=on_bad_row)
    more = {"answer": "word", "vocabulary": BYTES, **more}
    InstructionTask(name=name, source=source, templates=(template,), **more).register()


task("none", "empty.jsonl")
task("torn", "torn.jsonl")
task("torn_skipped", "torn.jsonl", on_bad_row="skip")
task("lacking", "lacking.jsonl")
task("long", "long.jsonl", template="Repeat this to the letter: {word} Thank you.", answer="short")
task("no_such_field", "words.jsonl", template="Say {wrod}.")
task("other_vocabulary", "words.jsonl", vocabulary=seqio.ByteVocabulary(extra_ids=7))
task("words", "words.jsonl")
task("quiet", "empty.jsonl", may_be_empty=True)
task("silent", "silent.jsonl", may_be_empty=True)
mixture("words_and_silence", ["words", "quiet", "silent"])
mixture("silence", ["quiet", "silent"])
mixture("words_and_none", ["words", "none"])
"""


@pytest.fixture(scope="module")
def bad(project, tmp_path_factory):
    """A project whose data and tasks have faults, and one data process for all of them."""
    from flan_jax.data.request import WorkerSetup
    from flan_jax.data.worker import Worker

    folder = tmp_path_factory.mktemp("bad") / "project"
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "bad_tasks.py").write_text(BAD_TASKS)
    with open(folder / "run.gin", "a") as file:
        file.write("import bad_tasks\nSTEPS = 2\n")
    words = [{"word": f"word{i}", "short": "s"} for i in range(20)]
    lines = [json.dumps(row) for row in words]
    (folder / "words.jsonl").write_text("\n".join(lines))
    (folder / "empty.jsonl").write_text("")
    (folder / "silent.jsonl").write_text('{"word": ""}\n' * 3)
    (folder / "torn.jsonl").write_text("\n".join([*lines[:4], '{"word": "cu', *lines[5:]]))
    (folder / "lacking.jsonl").write_text("\n".join([*lines[:6], '{"wrod": "x"}', *lines[7:]]))
    long = [{"word": "abcdefg " * 20, "short": "s"}]
    (folder / "long.jsonl").write_text("\n".join([*lines, *map(json.dumps, long)]))
    with Worker(WorkerSetup(("user_tasks", "more_tasks", "bad_tasks"), (str(folder),))) as shared:
        yield dataclasses.replace(project, folder=folder), shared


@pytest.fixture
def tried(bad, tmp_path, monkeypatch):
    """Tries a command with a mixture of the faulty project."""
    import contextlib

    project, shared = bad
    monkeypatch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(shared))

    def attempt(mixture, *argv, command="train"):
        more = ["--mixture", mixture, "--run_dir", tmp_path / "run", *argv]
        return project(command, "--gin_file", "run.gin", *more)

    return attempt


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--gin_file", "quikstart.gin"], ["quikstart.gin", "did you mean 'quickstart'"]),
        (["--gin_file", "run.gin", "--gin.Optimizer.learning_rat=1"], ["did you mean 'learning_rate'"]),
        (["--gin_file", "run.gin", "--gin.STEPS='many'"], ["STEPS", "'many'"]),
        (["--gin_file", "run.gin", "--gin.Model.embed_dim=1.5"], ["Model.embed_dim", "1.5"]),
        (["--gin_file", "run.gin", "--model", "t5_startr"], ["t5_startr", "did you mean 't5_starter'"]),
        (["--gin_file", "run.gin", "--mesh", "data=4"], ["4 devices", "mesh"]),
        (["--gin_file", "run.gin", "--microbatches", 3], ["batch of 8 rows", "3 microbatches", "a multiple of 3"]),
        (["--gin_file", "run.gin", "--gin.Model.num_heads=5"], ["num_heads"]),
    ],
)
def test_settings_are_refused_before_anything_is_made(project, tmp_path, argv, words):
    done = project("train", *argv, "--run_dir", tmp_path / "run")
    check_refused(done, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("mixture", "argv", "words"),
    [
        ("capitols", [], ["'capitols'", "did you mean 'capitals'", "flan-jax tasks"]),
        ("none", [], ["'none'", "empty.jsonl", "the source is empty"]),
        ("words_and_none", [], ["'none'", "empty.jsonl", "the source is empty", "take it out of 'words_and_none'"]),
        ("silence", [], ["'quiet'", "the source is empty"]),
        ("torn", [], ["torn.jsonl:5", "JSON", "--on_bad_row skip"]),
        ("lacking", [], ["lacking.jsonl:7", "'word'", "did you mean 'wrod'"]),
        ("long", ["--gin.Data.on_long='refuse'"], ["'long'", "64"]),
        ("no_such_field", [], ["'no_such_field'", "wrod", "did you mean 'word'"]),
        ("ours", ["--gin.Data.split='trian'"], ["'trian'", "did you mean 'train'"]),
    ],
)
def test_faults_of_data_are_told_with_their_place(tried, tmp_path, mixture, argv, words):
    check_refused(tried(mixture, *argv), *words)
    assert not list((tmp_path / "run").glob("checkpoints/*"))


@pytest.fixture
def planned(tried):
    """Plans a mixture of the faulty project; gives the row of its only task."""

    def plan(mixture, *argv):
        done = tried(mixture, *argv, "--json", command="plan")
        assert done.code == 0, done.err
        (task,) = json.loads(done.out)["tasks"]
        return task

    return plan


def test_bad_rows_are_skipped_and_counted_where_that_is_asked_for(planned):
    for mixture, argv in (("torn_skipped", []), ("torn", ["--gin.Data.on_bad_row='skip'"])):
        task = planned(mixture, *argv)
        assert (task["examples"], task["dropped"], task["tally"]["bad_rows"]) == (19, 1, 1)


def test_a_mixture_does_without_tasks_that_may_be_empty_and_says_so(tried):
    done = tried("words_and_silence", command="plan")
    assert "left out, as their corpora cannot be had or give no rows: quiet, silent" in done.out and done.code == 0
    assert "task 'silent', whose rows were all left out: 3 read, 3 dropped" in done.err
    assert "task 'quiet', whose rows were all left out: there are none" in done.err


def test_what_is_too_long_loses_a_field_and_never_the_instruction(tried, planned):
    task = planned("long")
    assert (task["examples"], task["truncated"], task["dropped"]) == (21, 1, 0)
    shown = tried("long", "--num", 16, "--batch_size", 16, command="inspect").out
    (cut,) = {line for line in shown.splitlines() if "abcdefg" in line}
    assert cut.startswith("inputs  [64]: Repeat this to the letter: abcdefg ") and cut.endswith(" Thank you.")
    task = planned("long", "--gin.Data.on_long='drop'")
    assert (task["examples"], task["truncated"], task["dropped"]) == (20, 0, 1)


@pytest.fixture
def copied(trained, tmp_path):
    """A finished run to go wrong with."""
    shutil.copytree(trained, tmp_path / "copied")
    return tmp_path / "copied"


def untouched(run_dir, trained):
    """Whether the checkpoints, curves and results of a run are those of the run it was copied from."""
    # All but the index of rows, which grows with the steps that are planned.
    kept = [path for path in trained.rglob("*") if path.is_file() and path.suffix != ".index"]
    return all((run_dir / path.relative_to(trained)).read_bytes() == path.read_bytes() for path in kept)


def test_a_checkpoint_of_another_model_is_refused(project, trained, copied):
    longer = ["train", "--gin_file", "run.gin", "--run_dir", copied, "--steps", 40]
    other = "cannot go on from step 30, as its checkpoint holds another model or optimiser: "
    for changes, told in (
        (["--gin.Model.mlp_dim=128", "--gin.Optimizer.b1=0.8"], "Model.mlp_dim was 64, is 128. Undo that"),
        (["--gin.Optimizer.name='adafactor'"], "Optimizer.name was 'adamw', is 'adafactor'. Undo that"),
        (["--gin.Optimizer.clip_norm=None"], "Optimizer.clip_norm was 1.0, is None. Undo that"),
    ):
        said = check_refused(project(*longer, *changes), other + told)
        assert "optimizer/opt" not in said, "the setting, not its leaves"
    assert untouched(copied, trained)
    start = ["train", "--gin_file", "run.gin", "--run_dir", copied.parent / "new", "--init_from", trained]
    check_refused(project(*start, "--gin.Model.embed_dim=64"), "another model")


def test_a_vocabulary_that_is_not_the_checkpoints_is_refused(tried, trained, copied):
    check_refused(tried("other_vocabulary", "--init_from", trained), "another vocabulary", "vocabulary.json")
    # Also where the plan is gone on with: what was learnt belongs to the old vocabulary.
    more = ["--gin.Data.on_changed_plan='continue'", "--steps", 40, "--run_dir", copied]
    check_refused(tried("other_vocabulary", *more), "another vocabulary")
    assert untouched(copied, trained)


def test_a_run_folder_of_another_plan_is_refused(tried, trained, copied):
    told = check_refused(
        tried("words", "--run_dir", copied, "--steps", 40), "task 'capitals' is gone", "task 'words' is new"
    )
    assert "--run_dir" in told
    assert untouched(copied, trained)


def test_a_folder_that_cannot_be_made_is_told(project, tmp_path):
    (tmp_path / "file").write_text("")
    check_refused(project("train", "--gin_file", "run.gin", "--run_dir", tmp_path / "file/run"), "RUN_DIR", "--run_dir")


def test_a_disk_that_fills_up_midway_loses_no_checkpoint(project, trained, small_disk):
    """Ten steps are saved, then the disk is full; with space again the run goes on to the figures of the other one."""
    run_dir = small_disk / "run"
    argv = ["train", "--gin_file", "run.gin", "--run_dir", run_dir]
    assert project(*argv, "--steps", 10).code == 0
    filler = fill(small_disk, left=40_000)
    process = project.start(*argv, "--save_period", 2)
    out, err = process.communicate(timeout=120)
    told = check_refused(Done(process.returncode, out, err), "The disk that holds", "run/checkpoints is full")
    assert err.count(told) == 1
    filler.unlink()
    done = project(*argv)
    assert done.code == 0, done.err
    assert "going on from step 10 of 30" in done.out
    assert losses(run_dir) == losses(trained)


@pytest.mark.usefixtures("warm")
def test_a_disk_that_is_full_from_the_start_is_told(project, small_disk, tmp_path):
    filler = fill(small_disk, left=8192)
    argv = ["train", "--gin_file", "run.gin", "--steps", 1]
    check_refused(project(*argv, "--run_dir", small_disk / "run"), "full", "run folder")
    stores = ["--run_dir", tmp_path / "run", "--store_dir", small_disk / "stores"]
    check_refused(run(*argv, *stores, cwd=project.folder), "STORE_DIR", "No space left")
    filler.unlink()
    done = run(*argv, *stores, cwd=project.folder, compiled=project.compiled)
    assert done.code == 0, done.err
