"""The main job on real input: 271 tasks of a folder beside the clone, a vocabulary learnt from them, a kill, a resume.

Skipped where that folder is not. One story, told once in `story`; the tests look at what it left.
"""

import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import sentencepiece

from flan_jax.data.planning import plan as plans
from flan_jax.data.planning.plan import SHARE_BITS
from tests.project import plan_of, rows, wait_for

TASK_FILE = pathlib.Path(__file__).parents[1] / "testdata" / "t0_tasks.py"
LENGTHS = {"inputs": 128, "targets": 32}
STEPS, PERIOD = 40, 8
RUN_FILE = f"""
import t0_tasks

MIXTURE = "t0"
MODEL = "t5_starter"
VOCABULARY = "t0.model"
FEATURE_LENGTHS = {LENGTHS}
BATCH_SIZE = 16
STEPS = {STEPS}
LEARNING_RATE = 4e-3
SAVE_PERIOD = {PERIOD}
LOG_PERIOD = 10
STORE_DIR = "stores"
Model.embed_dim = 64
Model.num_heads = 2
Model.num_encoder_layers = 1
Model.num_decoder_layers = 1
Optimizer.warmup_steps = 5
"""
SEQIO_RATES = """
import json, seqio, t0_tasks
mixture = seqio.MixtureRegistry.get("t0")
print(json.dumps({task.name: mixture.get_rate(task) for task in mixture.tasks}))
"""
HALF_EMPTY = "half_empty"  # a file of which half the rows have no completion


@dataclasses.dataclass(frozen=True)
class Story:
    """What the user did, and what came of it."""

    folder: pathlib.Path
    data: pathlib.Path
    vocabulary_said: str
    killed_at: int
    resume_said: str

    @property
    def whole(self) -> pathlib.Path:
        return self.folder / "runs" / "whole"

    @property
    def killed(self) -> pathlib.Path:
        return self.folder / "runs" / "killed"


def real_files(real_data: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The real files, and one more of real rows: some with a completion, some of a file that lost all of them."""
    folder.mkdir()
    given = real_data / "t0_train_50k"
    for path in given.glob("*.jsonl"):
        (folder / path.name).symlink_to(path)
    sound = (given / "sciq_Direct_Question.jsonl").read_text().splitlines(keepends=True)[:60]
    empty = (given / "trec_trec1.jsonl").read_text().splitlines(keepends=True)[:60]
    (folder / f"{HALF_EMPTY}.jsonl").write_text("".join(a + b for a, b in zip(sound, empty, strict=False)))
    return folder


@pytest.fixture(scope="module")
def story(real_data, tmp_path_factory) -> Story:
    folder = tmp_path_factory.mktemp("real data")
    data = real_files(real_data, folder / "t0")
    shutil.copy(TASK_FILE, folder)
    (folder / "t0.gin").write_text(RUN_FILE)
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "FLAN_JAX_T0": str(data)}
    command = [sys.executable, "-m", "flan_jax.main"]

    def run(*argv: str) -> str:
        done = subprocess.run([*command, *argv], cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr, done.stderr
        return done.stdout

    said = run("vocab", "--module", "t0_tasks", "--mixture", "t0", "--size", "2000", "--output", "t0.model")
    run("train", "--gin_file", "t0.gin", "--run_dir", "runs/whole")

    again = ["train", "--gin_file", "t0.gin", "--run_dir", "runs/killed"]
    killed = folder / "runs" / "killed"
    metrics = killed / "metrics.jsonl"
    target = random.randrange(PERIOD + 1, 3 * PERIOD)
    with open(folder / "killed.log", "w") as log:
        process = subprocess.Popen([*command, *again], cwd=folder, env=env, stdout=log, stderr=log)
    far = lambda: metrics.exists() and metrics.read_bytes().count(b"\n") >= target
    wait_for(lambda: (killed / "checkpoints" / str(PERIOD)).exists() and far(), process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    return Story(folder, data, said, len(rows(killed)), run(*again))


def test_a_vocabulary_is_learnt_from_tasks_that_name_none(story):
    assert "2,000 pieces" in story.vocabulary_said
    model = sentencepiece.SentencePieceProcessor(model_file=str(story.folder / "t0.model"))
    assert model.get_piece_size() == 2000
    text = "Answer the question: what is ☃?\n"
    assert model.decode(model.encode(text)) == text
    assert len(model.encode("Which of the following is the answer to the question?")) < 16


def test_the_task_file_is_as_short_as_we_say():
    assert len(TASK_FILE.read_text().splitlines()) <= 25


def test_losses_after_a_kill_are_those_of_the_run_that_was_not_killed(story):
    whole, resumed = rows(story.whole), rows(story.killed)
    assert [row["step"] for row in resumed] == list(range(1, STEPS + 1))
    assert PERIOD < story.killed_at < STEPS
    start = int(re.search(r"going on from step (\d+) of", story.resume_said).group(1))
    assert start % PERIOD == 0 and PERIOD <= start <= story.killed_at
    assert resumed == whole  # loss, gradient norm, learning rate, weights, sums by task: bit for bit
    assert {"loss", "grad_norm", "weight_sum"} <= set(whole[0]) and "by_task" in whole[-1]


def test_the_loss_falls(story):
    losses = [row["loss"] for row in rows(story.whole)]
    assert np.mean(losses[-8:]) < np.mean(losses[:4]) - 1.0


def test_shares_are_seqios_own_rates(story):
    env = {**os.environ, "FLAN_JAX_T0": str(story.data)}
    done = subprocess.run(
        [sys.executable, "-c", SEQIO_RATES], cwd=story.folder, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rates = json.loads(done.stdout)
    # seqio counts rows; of this one file some have nothing to learn from, and what is kept counts.
    assert rates[HALF_EMPTY] == 100
    rates[HALF_EMPTY] = 60
    assert len(rates) >= 200 and max(rates.values()) == 100 and len(set(rates.values())) >= 3
    shares = {name: rate / sum(rates.values()) for name, rate in rates.items()}

    kept = plan_of(story.whole)
    table = {row["task"]: row for row in kept["table"]["tasks"]}
    assert set(table) == set(rates) and {row["cap"] for row in table.values()} == {100}
    plan = plans.Plan.from_description(kept["plan"])
    examples = plan.counts_by(1)
    drawn = np.bincount(plan.examples(0)[0], minlength=len(plan.tasks))
    assert drawn.tolist() == examples.tolist()
    for number, task in enumerate(plan.tasks):
        assert table[task.name]["rate"] == pytest.approx(shares[task.name], abs=2.0**-SHARE_BITS)
        assert abs(examples[number] - shares[task.name] * examples.sum()) <= 1


def test_what_is_left_out_or_cut_is_counted(story):
    table = {row["task"]: row for row in plan_of(story.whole)["table"]["tasks"]}
    assert table[HALF_EMPTY]["examples"] == 60 and table[HALF_EMPTY]["dropped"] == 60
    assert all(row["dropped"] == 0 for name, row in table.items() if name != HALF_EMPTY)

    name = "xsum_DOC_tldr"
    model = sentencepiece.SentencePieceProcessor(model_file=str(story.folder / "t0.model"))
    given = [json.loads(line) for line in (story.data / f"{name}.jsonl").read_text().splitlines()]
    lengths = [
        (len(model.encode(row["prompt"])), len(model.encode(row["completion"].removesuffix("<|endoftext|>").strip())))
        for row in given
    ]
    longer = sum(i > LENGTHS["inputs"] or t + 1 > LENGTHS["targets"] for i, t in lengths)
    assert 0 < longer == table[name]["truncated"] and table[name]["examples"] == len(given)


def test_each_task_is_in_the_plan_and_no_trec_file(story):
    names = {task["name"] for task in plan_of(story.whole)["plan"]["tasks"]}
    files = {path.stem for path in story.data.glob("*.jsonl")}
    assert names == {name for name in files if not name.startswith("trec_")} and len(names) > 270
