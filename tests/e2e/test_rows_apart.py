"""Plain text in rows of its own: one run of two compiled steps, which goes on exactly."""

import json
import shutil

import pytest

from flan_jax import train as training
from flan_jax.training import program
from tests.project import check_refused, plan_of, rows

pytestmark = pytest.mark.usefixtures("warm")
APART = ("--mixture", "parity_with_sentinels", "--pretraining", "held_prose", "--pretraining_fraction", 0.4)
APART += ("--feature_lengths", "inputs=20,targets=16", "--gin.Pretraining.batch_size=16")  # shorter than the text is
APART += ("--gin.Pretraining.rows={'inputs': 32, 'targets': 24}", "--gin.Pretraining.tokens=600", "--log_period", 1)
STEPS = ("--steps", 12)
LENGTHS = "--gin.Pretraining.lengths={'inputs': 32, 'targets': 24}"  # those of the rows, of which the stores are
SAVED = ("--gin_file", "run.gin", "--gin.SAVE_PERIOD=5")


@pytest.fixture(scope="module")
def apart(project, tmp_path_factory):
    """A run's folder, what it said, and the jitted steps of its programs."""
    programs, make = [], training.make_program

    def kept(*args, **how):
        programs.append(make(*args, **how))
        return programs[-1]

    folder = tmp_path_factory.mktemp("apart") / "run"
    program._shared_program.cache_clear()  # another run of the same step may have had other rows
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "make_program", kept)
        done = project("train", *SAVED, "--run_dir", folder, *APART, *STEPS)
        assert done.code == 0, done.err
    return folder, done.out, [made.step.jitted for made in programs]


def test_a_step_is_compiled_for_each_kind_of_rows_and_trains_on_one(apart):
    folder, said, (jitted,) = apart
    assert jitted._cache_size() == 2
    found = rows(folder)
    kinds = [tuple(row["by_part"]) for row in found]
    assert set(kinds) == {("instruction",), ("pretraining",)} and len(kinds) == 12
    learnt = [sum(row["weight_sum"] for row, kind in zip(found, kinds, strict=True) if kind == (name,)) for name in
              ("instruction", "pretraining")]  # fmt: skip
    step = max(row["weight_sum"] for row in found)
    assert learnt[1] == pytest.approx(0.4 * sum(learnt), abs=step)
    table = plan_of(folder)["table"]
    of_each = [kinds.count((name,)) for name in ("instruction", "pretraining")]
    assert [lane["steps"] for lane in table["lanes"]] == of_each and table["rows"] == 8 * of_each[0] + 16 * of_each[1]
    assert f"{of_each[0]} steps of 8 rows (20 inputs + 16 targets tokens)" in said
    assert f"{of_each[1]} steps of 16 rows of plain text alone (32 inputs + 24 targets tokens)" in said
    for part, weight in zip(table["parts"], learnt, strict=True):
        assert part["trainable"] == pytest.approx(weight, rel=0.05)


def test_a_run_goes_on_exactly_in_every_lane(apart, project, tmp_path):
    whole, _, _ = apart
    # As if it had been killed after step 5: with the windows that are known since, and without.
    for number, keeps_index in enumerate((True, False)):
        cut = shutil.copytree(whole, tmp_path / f"cut-{number}")
        for step in (10, 12):
            shutil.rmtree(cut / "checkpoints" / str(step))
        assert len(list(cut.glob("rows-*.index"))) == 2
        for index in cut.glob("rows-*.index"):
            _ = keeps_index or index.unlink()
        done = project("train", *SAVED, "--run_dir", cut, *APART, *STEPS)
        assert done.code == 0 and "going on from step 5 of 12" in done.out, done.err
        assert rows(cut) == rows(whole)


def test_inspect_shows_the_rows_of_the_steps_lane(apart, project):
    folder, _, _ = apart
    for step, row in enumerate(rows(folder), 1):
        shown = project("inspect", "--run_dir", folder, "--step", step, "--num", 1)
        is_text = "pretraining" in row["by_part"]
        lengths = "16, 32 inputs + 24 targets" if is_text else "8, 20 inputs + 16 targets"
        assert shown.code == 0 and f"step {step}: rows 0 to 0 of {lengths} tokens each" in shown.out
        assert ("held_prose" in shown.out, "parity_with_sentinels" in shown.out) == (is_text, not is_text)


def planned(project, *how):
    done = project("plan", "--gin_file", "run.gin", *APART, "--epochs", 2, "--json", *how)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_epochs_are_of_the_mixture(apart, project):
    table = planned(project)
    assert table["tasks"][0]["epochs"] == pytest.approx(2, abs=0.5)
    assert table["steps"] == sum(lane["steps"] for lane in table["lanes"])
    assert sum(row["rate"] for row in table["tasks"]) == pytest.approx(1)


@pytest.mark.slow
def test_an_estimate_plans_as_the_stores_do(apart, project):
    exact, estimate = planned(project), planned(project, "--estimate")
    assert [lane["steps"] for lane in exact["lanes"]] == pytest.approx(
        [lane["steps"] for lane in estimate["lanes"]], 0.2
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ((LENGTHS, "--gin.Pretraining.rows={'inputs': 40, 'targets': 24}"), ("Pretraining.rows was", "'inputs': 32")),
        (("--pretraining_fraction", 0), ("plain text was in rows of its own, by Pretraining.rows, and is not",)),
        (("--gin.Pretraining.batch_size=8",), ("the batch of plain text's rows was 16, is 8", "share of the steps")),
        (("--gin.Pretraining.batch_size=3", "--microbatches", 2), ("set Pretraining.batch_size to a multiple of 2",)),
        (("--replay", "parity_with_sentinels", "--replay_fraction", "0:0.1,1:0.2"), ("are wanted as numbers then",)),
        (("--gin.Distillation.teacher='runs/large'",), ("Distillation.teacher reads one kind of rows",)),
        (("--gin.Curriculum.by='length'",), ("Curriculum puts the tasks of one kind of rows in order",)),
    ],
)
def test_another_plan_and_what_does_not_go_together_are_refused(apart, project, settings, words):
    check_refused(project("train", *SAVED, "--run_dir", apart[0], *APART, *STEPS, *settings), *words)


def test_a_teacher_that_reads_one_kind_of_rows_is_not_asked(apart, project):
    done = project("prepare", "--gin_file", "run.gin", *APART, *STEPS, "--teacher", apart[0])
    check_refused(done, "--teacher reads one kind of rows", "Pretraining.rows is {'inputs': 32")
