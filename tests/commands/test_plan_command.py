"""`plan`: its figures against the rows that a run really trains on."""

import collections
import dataclasses
import json

import pytest

from flan_jax.config.training_settings import OptimizerConfig
from flan_jax.data.stores.store import open_store
from flan_jax.models.config import ModelConfig
from flan_jax.training.footprint import footprint
from tests.project import check_refused, rows

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture(scope="module")
def table(project, trained):
    """The plan of the trained run, by `plan --json`."""
    done = project("plan", "--gin_file", "run.gin", "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_totals_are_the_sums_of_the_rows(table):
    assert len(table["tasks"]) == 2
    for key, total in table["total"].items():
        assert total == pytest.approx(sum(row[key] for row in table["tasks"])), key
    assert table["total"]["rate"] == pytest.approx(1)
    assert table["steps"] == 30 and table["rows"] == 240


def test_the_plan_is_what_the_loader_yields(table, loader_of, trained):
    loader = loader_of(trained)
    counts: collections.Counter = collections.Counter()
    tokens: collections.Counter = collections.Counter()
    for step in range(30):
        for row in loader.contents(step):
            for task, index, draw, _ in row:
                store = loader.store(task, draw)
                name = loader.plan.tasks[task].name
                counts[name] += 1
                tokens[name] += len(store.tokens("inputs", index)) + len(store.tokens("targets", index))
    assert sum(counts.values()) > 500
    for row in table["tasks"]:
        assert row["seen"] == counts[row["task"]]
        assert row["tokens"] == pytest.approx(tokens[row["task"]], rel=0.03)
        assert row["epochs"] == counts[row["task"]] / row["examples"]
    trainable = sum(row["weight_sum"] for row in rows(trained))
    assert table["total"]["trainable"] == pytest.approx(trainable, rel=0.03)
    positions = 30 * 8 * (64 + 16)
    full = sum(table["full"][name] * size for name, size in table["row"].items()) / 80
    assert full == pytest.approx(sum(tokens.values()) / positions, rel=0.03)


def test_the_proof_of_the_masks_is_told(table, project):
    for row in table["tasks"]:
        assert row["mask"]["proved"] == row["examples"] and not row["mask"]["left_out"]
        assert row["mask"]["trained"] == pytest.approx(row["trainable"] / row["tokens"], rel=0.01)
    assert "mask proved on 64 examples of 2 tasks, " in project("plan", "--gin_file", "run.gin").out


def test_a_long_plan_is_extrapolated_from_a_few_windows(project, loader_of, trained):
    steps = 2000
    table = json.loads(project("plan", "--gin_file", "run.gin", "--steps", steps, "--json").out)
    loader = loader_of(trained)
    assert loader.index.end(4) < steps * 8 / 5  # many more windows than are packed for the plan
    counts: collections.Counter = collections.Counter()
    for row in range(steps * 8):
        held, place = loader.index.locate(row)
        counts.update(loader.plan.tasks[held.task[e]].name for e in held.entries(place))
    for row in table["tasks"]:
        assert row["seen"] == pytest.approx(counts[row["task"]], rel=0.02)


def test_caps_and_rates_are_those_of_the_tasks(table):
    told = {row["task"]: (row["examples"], row["cap"], row["rate"]) for row in table["tasks"]}
    assert told == {"capitals": (24, 15, pytest.approx(15 / 55)), "parity": (40, None, pytest.approx(40 / 55))}


SHARED = ["--gin.Balance.weights={'capitals': 3, 'par*': 1}", "--gin.Balance.temperature=1e9"]


@pytest.mark.parametrize(
    "length",
    [["--steps", 30], ["--epochs", 5], ["--steps", 30, *SHARED, "--gin.Balance.unit='trainable_tokens'"]],
    ids=["steps", "epochs", "balanced"],
)
def test_an_estimate_is_near_the_plan(project, length):
    exact, near = (
        json.loads(project("plan", "--gin_file", "run.gin", "--json", *length, *more).out)
        for more in ([], ["--estimate"])
    )
    assert near["estimate"] and not exact["estimate"]
    assert near["steps"] == pytest.approx(exact["steps"], rel=0.1)
    for ours, theirs in zip(near["tasks"], exact["tasks"], strict=True):
        assert ours["task"] == theirs["task"] and ours["examples"] == theirs["examples"]
        for key in ("rate", "seen", "epochs", "tokens", "trainable"):
            assert ours[key] == pytest.approx(theirs[key], rel=0.1), (key, ours["task"])
    for name, share in exact["full"].items():
        assert near["full"][name] == pytest.approx(share, abs=0.1)


def test_shares_of_trainable_tokens_are_told(table, project):
    for row in table["tasks"]:
        assert row["share"] == row["trainable"] / table["total"]["trainable"] and row["cluster"] is None
    how = [*SHARED, "--gin.Balance.unit='trainable_tokens'", "--gin.Balance.cap=12"]
    for more in ([], ["--estimate"]):
        found = json.loads(project("plan", "--gin_file", "run.gin", "--json", *how, *more).out)
        told = {row["task"]: (row["share"], row["cap"]) for row in found["tasks"]}
        assert told == {"capitals": (pytest.approx(0.75, abs=0.01), 12), "parity": (pytest.approx(0.25, abs=0.01), 12)}


def test_two_runs_are_put_side_by_side(project, table):
    theirs = 'include "run.gin"\nMIXTURE = "theirs"\nBalance.weights = {"shout": 3.0}\n'
    (project.folder / "theirs.gin").write_text(theirs)
    compare = ["plan", "--compare", "run.gin", "theirs.gin", "--steps", 30]
    found = json.loads(project(*compare, "--json").out)
    assert [run["mixture"] for run in found["runs"]] == ["ours", "theirs"]
    rows = {row["task"]: row["runs"] for row in found["tasks"]}
    assert list(rows) == ["capitals", "parity", "shout"]
    for row in table["tasks"]:  # of the first by itself
        assert rows[row["task"]][0] == {key: row[key] for key in ("rate", "share", "epochs")}
    assert rows["capitals"][1] is None and rows["shout"][0] is None
    assert rows["shout"][1]["rate"] == pytest.approx(3 / 4) and rows["parity"][1]["rate"] == pytest.approx(1 / 4)
    assert "in A alone: capitals\nin B alone: shout" in project(*compare).out


def test_what_cannot_be_compared_is_refused(project):
    (project.folder / "mistyped.gin").write_text('include "run.gin"\nMIXTURE = "thiers"\n')
    check_refused(project("plan", "--compare", "run.gin", "mistyped.gin"), "'thiers'", "did you mean 'theirs'")
    check_refused(project("plan", "--compare", "run.gin", "absent.gin"), "no gin file 'absent.gin'")
    weighed = ["--gin_file", "run.gin", "--gin.Balance.weights={'capitols': 2.0}"]
    for more in ([], ["--estimate"]):
        check_refused(project("plan", *weighed, *more), "Balance.weights names 'capitols'", "did you mean 'capitals'")


def test_an_estimate_prepares_nothing(project, tmp_path):
    done = project("plan", "--gin_file", "run.gin", "--seed", 77, "--estimate")
    assert done.code == 0 and "an estimate from a sample" in done.out
    held = {store.manifest["seed"] for store in map(open_store, project.stores.glob("*/train-*/draw-0"))}
    assert 77 not in held and 0 in held


def test_the_text_has_a_line_for_each_task_and_the_total(project):
    done = project("plan", "--gin_file", "run.gin")
    assert done.code == 0
    for words in ("capitals", "parity", "2 tasks", "30 steps of 8 rows", "positions that hold tokens", "parameters"):
        assert words in done.out


WITHOUT_JAX = """
import sys
from flan_jax.main import main
code = main(sys.argv[1:])
print("imported:", sorted(set(sys.modules) & {"jax", "flax", "optax", "orbax", "tensorflow", "seqio"}), code)
"""


def test_neither_plan_nor_inspect_waits_for_jax(project, trained):
    """Once the mixture is resolved and the model's size is known, importing JAX would be most of the time they take."""
    assert project("plan", "--gin_file", "run.gin").code == 0
    for argv, words in (
        (["plan", "--gin_file", "run.gin"], "positions that hold tokens"),
        (["inspect", "--run_dir", trained, "--step", 30], "step 30: rows 0 to 2 of 8"),
    ):
        out, err = project.start(*argv, program=("-c", WITHOUT_JAX)).communicate(timeout=120)
        assert words in out, err
        assert out.splitlines()[-1] == "imported: [] 0"


ADAMW = OptimizerConfig()


def test_the_size_of_a_model_is_kept_for_the_same_model_alone(tmp_path):
    small = ModelConfig(vocab_size=128, embed_dim=16)
    first = footprint(small, ADAMW, tmp_path)
    assert footprint(small, ADAMW, tmp_path) == first == footprint(small, ADAMW)
    for other, optimizer in (
        (dataclasses.replace(small, embed_dim=32), ADAMW),
        (small, OptimizerConfig(name="adafactor")),
    ):
        assert footprint(other, optimizer, tmp_path) == footprint(other, optimizer) != first
    kept = list((tmp_path / "resolved").glob("footprint-*.json"))
    assert len(kept) == 3
    for damaged in ("{", "[]", "{}", '{"parameters": "many"}', "[" * 100_000):  # "{": a disk that was full
        for path in kept:
            path.write_text(damaged)
        assert footprint(small, ADAMW, tmp_path) == first


def test_a_mistyped_mixture_gets_the_nearest_name(project):
    check_refused(project("plan", "--gin_file", "run.gin", "--mixture", "capitols"), "did you mean 'capitals'")
    check_refused(
        project("plan", "--gin_file", "run.gin", "--mixture", "two_objective"), "did you mean 'two_objectives'"
    )


def test_an_estimate_says_why_a_task_gives_nothing(project):
    how = ["--mixture", "capitals", "--feature_lengths", "inputs=4,targets=16", "--estimate"]
    check_refused(project("plan", "--gin_file", "run.gin", *how), "'capitals'", "24 too long", "raise FEATURE_LENGTHS")


def test_loss_weights_are_told_and_refused_in_a_run_that_had_others(project, trained):
    weights = ["--gin.Loss.task_weights={'parity': 0.0, 'cap*': 2.0}", "--gin.Pretraining.loss_weight=0.5"]
    shown = project("plan", "--gin_file", "run.gin", *weights).out
    assert "loss weights: parity 0 (read, not learnt), cap* 2, plain text 0.5\n" in shown
    prompts = ["--model", "tiny_decoder.gin", "--gin.Loss.prompt_weight=0.25"]
    shown = project("plan", "--gin_file", "run.gin", *prompts).out
    assert "loss weights: prompts 0.25, whose tokens are not among the trainable ones above\n" in shown
    assert "loss weights" not in project("plan", "--gin_file", "run.gin").out
    later = project("train", "--gin_file", "run.gin", "--run_dir", trained, "--steps", "40", weights[0])
    check_refused(later, "Loss.task_weights was {}, is {'parity': 0.0, 'cap*': 2.0}")
    unknown = project("plan", "--gin_file", "run.gin", "--gin.Loss.task_weights={'paritty': 0.0}")
    check_refused(unknown, "Loss.task_weights names 'paritty'", "did you mean 'parity'?")
