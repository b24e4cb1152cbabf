"""What plain flags mean: macros, files of `--data` and modules."""

import os

import pytest

from flan_jax.config.kept import write_equivalent
from flan_jax.config.macros import MACROS
from flan_jax.config.plain_flags import data_files
from flan_jax.errors import UserError
from tests.config.caller import SHAPE, resolved, write


def test_every_macro_has_a_flag_that_sets_it():
    values = {
        "MIXTURE": ("m", "m"), "MODEL": ("llama_60m", "llama_60m"), "INIT_FROM": ("runs/a", "runs/a"),
        "FEATURE_LENGTHS": ("inputs=8,targets=4", {"inputs": 8, "targets": 4}), "BATCH_SIZE": ("6", 6),
        "MICROBATCHES": ("2", 2), "STEPS": ("1_000", 1000), "EPOCHS": ("1.5", 1.5), "LEARNING_RATE": ("3e-4", 3e-4),
        "MESH": ("data=2,fsdp=-1", {"data": 2, "fsdp": -1}), "EVAL_MIXTURE": ("e", "e"), "EVAL_PERIOD": ("5", 5),
        "SAVE_PERIOD": ("6", 6), "LOG_PERIOD": ("7", 7), "RUN_DIR": ("r", "r"), "STORE_DIR": ("s", "s"),
        "SEED": ("8", 8), "LORA": ("16", 16), "VOCABULARY": ("byte", "byte"), "FORM": ("plain", "plain"),
        "EVAL_EXAMPLES": ("9", 9), "SPECIAL_TOKENS": ("<|a|>,<|b|>", ("<|a|>", "<|b|>")),
        "CHAT_TEMPLATE": ("chat.jinja", os.path.abspath("chat.jinja")),
        "PRETRAINING": ("books", "books"), "PRETRAINING_FRACTION": ("0.1", 0.1), "REPLAY": ("a,b", "a,b"),
        "REPLAY_FRACTION": ("0:0.5,1:0.1", ((0.0, 0.5), (1.0, 0.1))),
    }  # fmt: skip
    beside = {"INIT_FROM": ["--model", "t5_starter"], "LORA": ["--model", "t5_starter", "--init_from", "runs/a"]}
    assert set(values) == set(MACROS) - {"STAGES", "SWEEP"}  # several runs; see test_run_stages.py, test_sweeps.py
    for name, (text, value) in values.items():
        length = [] if name in ("STEPS", "EPOCHS") else ["--steps", "3"]
        run = resolved("train", *(["--mixture", "x"] if name != "MIXTURE" else []), *length, f"--{name.lower()}", text,
                       *beside.get(name, []))  # fmt: skip
        section, _, key = MACROS[name].target.partition(".")
        assert getattr(run if section == "Run" else getattr(run, section.lower()), key) == value


@pytest.mark.parametrize(
    ("argv", "length"),
    [
        (["--gin_file=a.gin", "--epochs", "2"], (None, 2.0)),
        (["--gin_file=a.gin", "--gin.EPOCHS=3"], (None, 3.0)),
        (["--gin_file=a.gin", "--gin.EPOCHS=3", "--steps", "9"], (9, None)),
        (["--gin_file=a.gin"], (1, None)),
    ],
)
def test_of_steps_and_epochs_the_one_set_last_holds(argv, length):
    write("a.gin", 'MIXTURE = "a"\nSTEPS = 1\n')
    run = resolved("train", *argv)
    assert (run.steps, run.epochs) == length


def test_fields_reach_the_task_module():
    write("table.csv", "question,reply\na,b\n")
    run = resolved("train", "--data", "table.csv", "--fields", "inputs=question,targets=reply", "--epochs", "1")
    assert run.data_fields == {"inputs": "question", "targets": "reply"}
    _, module = write_equivalent(run, "out")
    assert "fields={'inputs': 'question', 'targets': 'reply'}" in module.read_text()


def test_modules_are_checked_but_not_imported():
    write("pkg/__init__.py", "raise RuntimeError('imported')\n")
    write("pkg/tasks.py", "")
    assert resolved("train", *SHAPE, "--module", "pkg.tasks").modules == ("pkg.tasks",)
    with pytest.raises(UserError, match=r"no module 'pkg.task'"):
        resolved("train", *SHAPE, "--module", "pkg.task")


def test_a_folder_of_data_is_its_files_of_rows(tmp_path):
    for name in ("b.jsonl", "a.csv.gz", "notes.md", "c.JSON"):
        (tmp_path / name).write_text("a")
    (tmp_path / "empty.jsonl").write_text("")  # passed over
    (tmp_path / "inner.jsonl").mkdir()
    found = data_files([str(tmp_path), "gs://bucket/x.jsonl", str(tmp_path / "notes.md")])
    assert [name.rpartition("/")[2] for name in found] == ["a.csv.gz", "b.jsonl", "c.JSON", "x.jsonl", "notes.md"]
    with pytest.raises(UserError, match="inner.jsonl: the folder has no file .jsonl, .json, .csv"):
        data_files([str(tmp_path / "inner.jsonl")])
    (tmp_path / "LICENSE.txt").write_text("a")  # beside rows no data, alone a text
    assert data_files([str(tmp_path)]) == [str(tmp_path / name) for name in ("a.csv.gz", "b.jsonl", "c.JSON")]
    (tmp_path / "inner.jsonl/book.txt").write_text("a")
    assert data_files([str(tmp_path / "inner.jsonl")]) == [str(tmp_path / "inner.jsonl/book.txt")]
    with pytest.raises(UserError, match="none.jsonl: there is no such file"):
        data_files([str(tmp_path / "none.jsonl")])


def test_a_folder_of_task_files_stays_one_and_its_test_tasks_are_scored(tmp_path):
    row = '{"Definition": "Do.", "Instances": [{"input": "a", "output": "b"}]}'
    for name in ("task1", "task2"):
        write(f"ni/tasks/{name}.json", row)
    assert data_files(["ni"]) == ["ni"]
    assert resolved("train", "--data", "ni").eval_mixture == "user_data"  # it has no lists of tasks
    write("ni/splits/default/test_tasks.txt", "task2\n")
    run = resolved("train", "--data", "ni")
    assert run.data_files == (os.path.abspath("ni"),) and run.eval_mixture == "user_data_test"
    assert resolved("train", "--data", "ni", "--held_out", "0").eval_mixture is None
    assert run.feature_lengths == {"inputs": 1024, "targets": 128}
    assert resolved("train", "--data", "ni/tasks/task1.json").feature_lengths["inputs"] == 1024
    _, module = write_equivalent(run, "out")
    assert f"task_from_file({os.path.abspath('ni')!r}, 'user_data'" in module.read_text()
    write("v1/task.json", row.replace("{", '{"Title": "T", "Examples": {}, ', 1))
    assert data_files(["v1"]) == ["v1"]


def test_modules_that_are_nowhere_are_told_with_all_else():
    with pytest.raises(UserError) as fault:
        resolved("train", *SHAPE, "--module", "nopkg.a", "--module", "nopkg2", "--seed", "-1")
    first, second, third = fault.value.each()
    assert "--module nopkg.a: no module 'nopkg' beside you" in first and "--module nopkg2: no module" in second
    assert "SEED is -1" in third


def test_a_vocabulary_is_a_file_or_a_name_known_here(tmp_path, monkeypatch):
    """And is found from any folder later; one that is still to be learnt may be named for `vocab`."""
    assert resolved("train", *SHAPE, "--vocabulary", "starter").vocabulary == "starter"
    write("mine.model", "")
    assert resolved("plan", *SHAPE, "--vocabulary", "mine.model").vocabulary == os.path.abspath("mine.model")
    for command in (["train", *SHAPE], ["plan", *SHAPE], ["prepare", *SHAPE[:2]]):
        with pytest.raises(UserError, match="VOCABULARY is '.*gone.model', and there is no such file; wanted"):
            resolved(*command, "--vocabulary", "gone.model")
    assert resolved("vocab", *SHAPE[:2], "--vocabulary", "gone.model").vocabulary == os.path.abspath("gone.model")
    write("runs/kept/vocabulary.json", "{}")  # what was lost since, the run has
    assert resolved("train", *SHAPE, "--vocabulary", "gone.model", "--run_dir", "runs/kept")


@pytest.mark.parametrize(
    ("binding", "flag"),
    [("data_files=('b.jsonl',)", "--data"), ("data_fields={'inputs': 'a'}", "--fields"), ("data_held_out=3", "--held")],
)
def test_a_binding_that_a_flag_beside_data_would_hide_is_told(tmp_path, binding, flag):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 20)
    argv = ["train", "--data", str(tmp_path / "a.jsonl"), "--steps", "3"]
    assert resolved(*argv).data_held_out is None
    with pytest.raises(UserError, match=f"beside --data, Run.{binding.partition('=')[0]} is what {flag}"):
        resolved(*argv, f"--gin.Run.{binding}")


def test_a_folder_of_data_with_a_link_to_nothing_is_told(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "rows/b.jsonl.gz").symlink_to("gone.gz")
    (tmp_path / "rows/notes").symlink_to("gone")
    with pytest.raises(UserError, match=r"--data .*rows: b.jsonl.gz in it is a link to a file that is gone"):
        data_files([str(tmp_path / "rows")])
    (tmp_path / "rows/b.jsonl.gz").unlink()
    assert data_files([str(tmp_path / "rows")]) == [str(tmp_path / "rows/a.jsonl")]
