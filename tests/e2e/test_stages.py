"""A run of stages: a folder of ordinary runs, each started from the one before, with a matrix of scores at the end."""

import contextlib
import json
import signal

import pytest

from flan_jax import setup
from tests.project import check_refused, losses, rows, wait_for

STAGES = """
include "run.gin"
STAGES = ("both", "one")
STEPS = 6
SAVE_PERIOD = 2
LOG_PERIOD = 3
both/EVAL_MIXTURE = "parity"
one/MIXTURE = "capitals"
one/EVAL_MIXTURE = "capitals"
one/Optimizer.warmup_steps = 0
"""


@pytest.fixture(scope="module", autouse=True)
def gin_file(project, worker):
    """The gin file, beside that of the user's ordinary run; stages in this process share the data process."""
    (project.folder / "stages.gin").write_text(STAGES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))
        yield


@pytest.fixture(scope="module")
def stages(project, gin_file, tmp_path_factory):
    """The folder of two stages, and what training them printed."""
    folder = tmp_path_factory.mktemp("runs") / "stages"
    return folder, project.train(folder, gin_file="stages.gin")


def scores_of(run_dir, step):
    kept = json.loads((run_dir / f"scores/step-{step}.json").read_text())
    return {row["task"]: row["metrics"] for row in kept["tasks"]}


def test_each_stage_is_an_ordinary_run_started_from_the_one_before(project, stages, tmp_path):
    folder, done = stages
    assert "Stage 1 of 2, both: ours, 6 steps" in done.out and "Stage 2 of 2, one: capitals, 6 steps" in done.out
    assert f"starting from the parameters of {folder}/1-both; optimiser and step are new" in done.out
    # By hand the same comes out.
    how = ["--init_from", folder / "1-both", "--mixture", "capitals", "--steps", 6, "--gin.Optimizer.warmup_steps=0"]
    project.train(tmp_path / "by hand", *how, "--log_period", 3)
    assert losses(folder / "2-one") == losses(tmp_path / "by hand")
    for argv in (
        ["eval", "--run_dir", folder / "2-one"],
        ["inspect", "--run_dir", folder / "1-both", "--step", 2],
        ["generate", "--run_dir", folder / "2-one", "--prompt", "Name Country 3's capital."],
    ):
        assert project(*argv).code == 0


def test_the_matrix_has_every_stages_tasks_before_and_after_each(stages):
    folder, done = stages
    kept = json.loads((folder / "stages.json").read_text())
    assert [row["after"] for row in kept["rows"]] == ["before", "both", "one"]
    assert kept["columns"] == {"parity": ["parity"], "capitals": ["capitals"]}
    for row, place in zip(kept["rows"], ["1-both/0", "1-both/6", "2-one/6"], strict=True):
        run, _, step = place.partition("/")
        found = scores_of(folder / run, step)
        assert set(found) == {"parity", "capitals"}
        assert row["tasks"]["parity"]["score"] == next(iter(found["parity"].values()))
    table = done.out.partition("Scores after each stage")[2]
    assert [line.split()[0] for line in table.splitlines()[1:6] if "--" not in line] == [
        "after",
        "before",
        "both",
        "one",
    ]
    assert "parity: " in table and "after both" in table


def test_the_same_command_again_goes_through_what_is_finished(project, stages):
    folder, done = stages
    again = project.train(folder, gin_file="stages.gin")
    assert again.out.count("is finished: step 6 of 6") == 2
    assert again.out.partition("Scores after")[2] == done.out.partition("Scores after")[2]


def test_what_does_not_fit_the_folder_is_refused(project, stages):
    folder, _ = stages
    how = ["train", "--gin_file", "stages.gin", "--run_dir"]
    check_refused(project(*how, folder, '--gin.STAGES=("one","both")'), "holds the stages both, one")
    check_refused(project(*how, folder / "1-both"), "is the folder of a run without stages")
    check_refused(project("train", "--gin_file", "run.gin", "--run_dir", folder), "is the folder of a run of stages")
    told = check_refused(project("eval", "--run_dir", folder), "holds a run of stages", "name one")
    assert str(folder / "2-one") in told
    kept = (folder / "stages.json").read_text()
    (folder / "stages.json").write_text(kept.replace('"began_from": 6', '"began_from": 4'))
    check_refused(project(*how, folder), "stage 'one' began from step 4 of 'both', which is at step 6 now")
    (folder / "stages.json").write_text("[]")
    check_refused(project(*how, folder), "stages.json is damaged")
    (folder / "stages.json").write_text(kept)


def test_what_stages_name_is_looked_up_before_the_first_begins(project, tmp_path):
    how = ["train", "--gin_file", "stages.gin", "--run_dir", tmp_path / "run"]
    check_refused(project(*how, "--gin.one/MIXTURE='capitols'"), "stage 'one'", "did you mean 'capitals'?")
    share = "--gin.one/REPLAY_FRACTION=0.5"
    told = check_refused(project(*how, share, "--gin.one/REPLAY='shout'"), "stage 'one'", "REPLAY names 'shout'")
    assert "they train on ours" in told
    assert not (tmp_path / "run").exists()


def test_plans_and_stores_of_all_stages_come_before_any_is_trained(project, tmp_path):
    how = ["--gin_file", "stages.gin", "--run_dir", tmp_path / "run"]
    planned = project("plan", *how, "--json")
    tables = json.loads(planned.out)
    assert {name: table["mixture"] for name, table in tables.items()} == {"both": "ours", "one": "capitals"}
    prepared = project("prepare", *how)
    assert "ours: 2 tasks" in prepared.out and "capitals: 1 task" in prepared.out


@pytest.mark.parametrize("lora", [2, pytest.param(0, marks=pytest.mark.slow)])
def test_adapters_go_on_beside_their_base_or_are_folded_in(project, trained, tmp_path, lora):
    how = ["--init_from", trained, "--gin.LORA=2", f"--gin.one/LORA={lora}", "--gin.one/Evaluation.before=True"]
    how += ["--gin.Evaluation.measure='loss'"]
    folder = tmp_path / "run"
    done = project.train(folder, *how, "--learning_rate", 0.02, gin_file="stages.gin")
    # Nothing is lost where one stage ends and the next begins.
    base, ends, begins = (
        [found["loss"] for found in scores_of(folder / run, step).values()]
        for run, step in (("1-both", 0), ("1-both", 6), ("2-one", 0))
    )
    assert begins == pytest.approx(ends, rel=1e-4) and base != pytest.approx(ends, rel=1e-2)
    saved = json.dumps(json.loads((folder / "2-one/checkpoints/6/params/_METADATA").read_text()))
    assert ("lora_a" in saved) == bool(lora) == ("kernel" not in saved)
    if lora:
        notes = [json.loads((folder / run / "base.json").read_text()) for run in ("1-both", "2-one")]
        assert notes[0] == notes[1] and notes[0]["folder"] == str(trained)
    else:
        assert f"starting from the parameters of {folder}/1-both" in done.out
    assert project("generate", "--run_dir", folder / "2-one", "--prompt", "Is 3 odd or even?").code == 0


@pytest.mark.slow
def test_the_optimisers_statistics_go_on_by_choice(project, stages, tmp_path):
    folder = tmp_path / "run"
    done = project.train(folder, "--gin.Run.carry=('optimizer',)", "--gin.one/STEPS=2", gin_file="stages.gin")
    assert "the optimiser's statistics go on, the step is new" in done.out
    plain, carried = losses(stages[0] / "2-one"), losses(folder / "2-one")
    assert losses(folder / "1-both") == losses(stages[0] / "1-both")
    assert carried[0] == plain[0] and carried[1] != plain[1]  # the same parameters, moved by other moments


@pytest.mark.slow
def test_after_a_kill_in_a_later_stage_the_same_command_gives_the_same_figures(project, stages, tmp_path):
    run_dir = tmp_path / "run"
    argv = ["train", "--gin_file", "stages.gin", "--run_dir", run_dir]
    process = project.start(*argv)
    wait_for((run_dir / "2-one/checkpoints/2/checksums.json").exists, process, seconds=600)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = project.train(run_dir, gin_file="stages.gin")
    assert "1-both is finished" in done.out and "going on from step" in done.out
    for run in ("1-both", "2-one"):
        assert rows(run_dir / run) == rows(stages[0] / run)


@pytest.mark.slow
def test_ctrl_c_stops_all_stages(project, stages, tmp_path):
    run_dir = tmp_path / "run"
    process = project.start("train", "--gin_file", "stages.gin", "--run_dir", run_dir, "--gin.both/STEPS=5000")
    wait_for((run_dir / "1-both/checkpoints/4/checksums.json").exists, process, seconds=600)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130 and "stopped and saved at step" in out and "Traceback" not in err, err
    assert not (run_dir / "2-one").exists()
