"""`train --data FILE`: from a file as people have it to a model that answers, without Python or gin."""

import csv
import json

import pytest

from flan_jax.config.kept import load_run
from tests.project import check_refused, losses, plan_of, rows, run, write_rows

SMALL = [
    "--model",
    "tiny.gin",
    "--feature_lengths",
    "inputs=48,targets=24",
    "--batch_size",
    4,
    "--log_period",
    5,
    "--held_out",
    0,
]
COLOURS = ["red", "green", "blue", "black", "white"]


@pytest.fixture(scope="module")
def desk(project, tmp_path_factory):
    """An empty folder with nothing but data files (and the small model), and a way to run commands from there."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "tiny.gin").write_text((project.folder / "tiny.gin").read_text())
    said = [(f"Which colour has thing number {i}?", COLOURS[i % 5]) for i in range(60)]
    write_rows(folder / "pairs.jsonl", [{"prompt": q, "completion": a} for q, a in said])
    write_rows(folder / "alpaca.jsonl", [{"instruction": q, "input": "a thing", "output": a} for q, a in said])
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in said]
    more = [{"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]
    write_rows(folder / "chats.jsonl", [{"messages": each + more} for each in turns])
    with open(folder / "table.csv", "w", newline="") as file:
        csv.writer(file).writerows([["question", "reply", "note"], *[[q, a, "-"] for q, a in said]])

    def command(*argv):
        return run(*argv, "--store_dir", folder / "stores", cwd=folder, compiled=project.compiled)

    command.folder = folder
    return command


@pytest.fixture(scope="module")
def tuned(desk):
    """A run by `--data` with a vocabulary learnt from the data."""
    done = desk("train", "--data", "pairs.jsonl", "--steps", 20, *SMALL)
    assert done.code == 0, done.err
    return desk.folder / "runs/pairs", done


def test_prompt_and_completion_train_a_model_that_answers(desk, tuned):
    run_dir, done = tuned
    assert "user_data" in done.out and "flan-jax generate --run_dir runs/pairs" in done.out
    found = losses(run_dir)
    assert found[-1] < 0.7 * found[0]
    answer = desk("generate", "--run_dir", "runs/pairs", "--prompt", "Which colour has thing number 3?")
    assert answer.code == 0 and answer.err == "" and answer.out.endswith("\n")
    # Another vocabulary in the place of its own is told; the run's command puts its own back, finished or not.
    own = (run_dir / "vocabulary.model").read_bytes()
    (run_dir / "vocabulary.model").write_bytes(own[: len(own) // 2])
    check_refused(desk("generate", "--run_dir", "runs/pairs", "--prompt", "Which?"), "vocabulary.model is another file")
    again = desk("train", "--data", "pairs.jsonl", "--steps", 20, *SMALL)
    assert again.code == 0 and "is finished" in again.out, again.err
    assert (run_dir / "vocabulary.model").read_bytes() == own


def test_the_equivalent_gin_file_gives_the_same_losses(desk, tuned):
    run_dir, _ = tuned
    done = desk("train", "--gin_file", run_dir / "user_data.gin", "--run_dir", "runs/again", "--steps", 6)
    assert done.code == 0, done.err
    assert plan_of(desk.folder / "runs/again")["plan"] == plan_of(run_dir)["plan"]
    assert losses(desk.folder / "runs/again") == losses(run_dir)[:6]


def test_a_run_starts_from_another_one_with_its_vocabulary(desk, tuned):
    run_dir, _ = tuned
    # The model and the vocabulary come with the run: no --model here.
    argv = ["--data", "alpaca.jsonl", "--init_from", "runs/pairs", "--run_dir", "runs/more", "--steps", 3]
    done = desk("train", *argv, *SMALL[2:])
    assert done.code == 0, done.err
    more = desk.folder / "runs/more"
    assert load_run(more).model.embed_dim == 32
    assert (more / "vocabulary.model").read_bytes() == (run_dir / "vocabulary.model").read_bytes()
    assert losses(more)[0] < losses(run_dir)[0]


def test_files_of_two_kinds_train_together(desk):
    argv = ["--data", "alpaca.jsonl", "--data", "chats.jsonl", "--run_dir", "runs/both", "--steps", 4]
    done = desk("train", *argv, *SMALL, "--log_period", 4)
    assert done.code == 0, done.err
    assert set(rows(desk.folder / "runs/both")[-1]["by_task"]) == {"user_data_0", "user_data_1"}
    tasks = {task["task"]: task for task in plan_of(desk.folder / "runs/both")["table"]["tasks"]}
    # In a chat, what the user says in between bears no loss.
    assert tasks["user_data_0"]["examples"] == tasks["user_data_1"]["examples"] == 60
    steps = (desk("inspect", "--run_dir", "runs/both", "--step", step, "--num", 4).out for step in (1, 2, 3, 4))
    shown = "".join(steps)
    assert "a thing" in shown and "Sure" in shown


def test_a_csv_needs_its_columns_named(desk, tuned):
    argv = ["train", "--data", "table.csv", "--run_dir", "runs/table", "--steps", 2, *SMALL[2:]]
    argv += ["--init_from", "runs/pairs"]
    check_refused(desk(*argv), "question, reply, note", "--fields inputs=COLUMN,targets=COLUMN")
    check_refused(desk(*argv, "--fields", "inputs=question,targets=repli"), "'repli'", "did you mean 'reply'")
    done = desk(*argv, "--fields", "inputs=question,targets=reply")
    assert done.code == 0, done.err
    assert len(losses(desk.folder / "runs/table")) == 2
    assert "fields={" in (desk.folder / "runs/table/user_data_task.py").read_text()


def test_a_toy_file_trains_and_bad_rows_are_left_out_on_request(desk):
    said = [json.dumps({"prompt": f"Colour {i}?", "completion": COLOURS[i]}) for i in range(3)]
    (desk.folder / "toy.jsonl").write_text("\n".join([*said, "{torn"]))
    argv = ["train", "--data", "toy.jsonl", "--run_dir", "runs/toy", "--steps", 2, *SMALL[:-2]]
    check_refused(desk(*argv), "toy.jsonl:4", "--on_bad_row skip")
    done = desk(*argv, "--on_bad_row", "skip")
    assert done.code == 0, done.err
    (task,) = plan_of(desk.folder / "runs/toy")["table"]["tasks"]
    assert task["examples"] == 2 and task["tally"]["bad_rows"] == 1  # one of three is held out


def test_a_file_without_any_answer_is_told(desk):
    write_rows(desk.folder / "blank.jsonl", [{"prompt": f"Say {i}.", "completion": "<|endoftext|>"} for i in range(9)])
    check_refused(desk("train", "--data", "blank.jsonl", "--run_dir", "runs/blank", "--steps", 2, *SMALL), "an answer")


def test_a_file_may_lie_at_an_address(desk, tuned):
    argv = ["--steps", 2, *SMALL, "--init_from", "runs/pairs"]
    here, there = (desk("plan", "--data", name, *argv) for name in ("pairs.jsonl", f"file://{desk.folder}/pairs.jsonl"))
    assert here.code == there.code == 0 and here.out == there.out, there.err
    none = desk("plan", "--data", f"file://{desk.folder}/none.jsonl", *argv)
    assert none.code == 2 and "none.jsonl" in none.err and "Traceback" not in none.err


def test_the_first_rows_are_held_out_and_scored_before_and_after(desk):
    argv = ["--data", "pairs.jsonl", "--run_dir", "runs/scored", "--steps", 12, *SMALL[:-2]]
    done = desk("train", *argv)
    assert done.code == 0, done.err
    run_dir = desk.folder / "runs/scored"
    (task,) = plan_of(run_dir)["table"]["tasks"]
    assert task["examples"] == 54  # a tenth of 60 is kept apart
    (row,) = json.loads((run_dir / "results.json").read_text())["tasks"]
    assert row["examples"] == 6 and set(row["metrics"]) == {"loss"} and row["after"] < row["before"]
    assert "loss before" in done.out and "validation_rows=None" in (run_dir / "user_data_task.py").read_text()
    assert "Evaluation.measure = 'loss'" in (run_dir / "user_data.gin").read_text()
    check_refused(desk("train", "--held_out", 3, "--mixture", "ours"), "--held_out", "--data FILE")
