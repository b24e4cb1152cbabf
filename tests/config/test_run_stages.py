"""Scopes in gin become runs, one a stage, each complete and in a folder of its own."""

import pytest

from flan_jax.config import command_line
from flan_jax.config.resolving import resolve, resolve_runs
from flan_jax.errors import UserError
from tests.config.caller import resolved, save_run, write

STAGES = """
STAGES = ("tasks", "chat")
MIXTURE = "a"
STEPS = 500
BATCH_SIZE = 4
"""


def runs(*argv):
    """What a command line with stages comes to."""
    _, options, macros, bindings = command_line.parse(["train", *argv])
    return resolve_runs(options, macros, bindings)


def stages(text="", *argv):
    write("s.gin", STAGES + text)
    return runs("--gin_file=s.gin", *argv)


def test_a_setting_holds_for_all_stages_and_one_with_a_scope_for_its_own():
    one, other = stages(
        'chat/MIXTURE = "b"\nchat/BATCH_SIZE = 8\nchat/Optimizer.schedule = "linear"\nchat/Model.dropout_rate = 0.1\n'
    )
    assert (one.mixture, other.mixture, one.batch_size, other.batch_size) == ("a", "b", 4, 8)
    assert (one.steps, other.steps) == (500, 500)
    assert (one.optimizer.schedule, other.optimizer.schedule) == ("constant", "linear")
    assert (one.model.dropout_rate, other.model.dropout_rate) == (0.0, 0.1)
    assert (one.run_dir, other.run_dir) == ("runs/s/1-tasks", "runs/s/2-chat")
    assert (one.init_from, other.init_from) == (None, "runs/s/1-tasks")
    assert one.stages == other.stages == ()  # each is an ordinary run


def test_a_stage_resolves_to_the_same_run_by_the_gin_file_that_it_leaves():
    *_, chat = stages('chat/MIXTURE = "b"\nchat/LEARNING_RATE = 5e-4\nSAVE_PERIOD = 7\n', "--run_dir", "runs/x")
    save_run("runs/x/1-tasks")
    write("operative.gin", chat.operative)
    again = resolved("train", "--gin_file=operative.gin")
    assert (again.mixture, again.init_from, again.run_dir) == ("b", "runs/x/1-tasks", "runs/x/2-chat")
    assert again.optimizer == chat.optimizer and again.model == chat.model and again.save_period == 7


def test_flags_win_over_files_and_within_one_the_stage_over_all():
    write("s.gin", "chat/STEPS = 7\n" + STAGES)
    assert [run.steps for run in runs("--gin_file=s.gin")] == [500, 7]
    assert [run.steps for run in runs("--gin_file=s.gin", "--gin.chat/STEPS=9")] == [500, 9]
    assert [run.steps for run in runs("--gin_file=s.gin", "--steps", "3")] == [3, 3]


def test_epochs_of_one_stage_stand_beside_the_steps_of_all():
    one, other = stages("chat/EPOCHS = 2.0\n")
    assert (one.steps, one.epochs, other.steps, other.epochs) == (500, None, None, 2.0)


def test_every_stage_is_scored_on_what_any_is_and_the_first_before_it_begins():
    one, other = stages('tasks/EVAL_MIXTURE = "x,y"\nchat/EVAL_MIXTURE = "y,z"\n')
    assert one.eval_mixture == other.eval_mixture == "x,y,z"
    assert (one.evaluation.before, other.evaluation.before) == (True, False)
    assert not stages('EVAL_MIXTURE = "x"\nEvaluation.before = False\n')[0].evaluation.before
    assert stages()[0].eval_mixture is None and not stages()[0].evaluation.before


def test_replay_is_of_all_stages_before_unless_it_is_named():
    text = 'STAGES = ("one", "two", "three")\nMIXTURE = "a,b"\ntwo/MIXTURE = "b,c"\nthree/MIXTURE = "d"\nSTEPS = 5\n'
    write("r.gin", text + "REPLAY_FRACTION = 0.2\n")
    one, two, three = runs("--gin_file=r.gin")
    assert (one.replay.mixture, one.replay.fraction) == (None, 0.0)
    assert (two.replay.mixture, two.replay.fraction) == ("a,b", 0.2)
    assert three.replay.mixture == "a,b,c"
    write("r.gin", text + 'three/REPLAY_FRACTION = 0.1\nthree/REPLAY = "c"\n')
    assert [run.replay.mixture for run in runs("--gin_file=r.gin")] == [None, None, "c"]
    write("r.gin", text + "three/REPLAY_FRACTION = 0.0\n")
    assert [run.replay.mixture for run in runs("--gin_file=r.gin")] == [None, None, None]


def test_what_the_first_stage_starts_from_says_the_model_of_all():
    model = resolved("train", "--mixture", "m", "--steps", "3", "--model", "llama_starter").model
    save_run("runs/old", model=model)
    one, other = stages('INIT_FROM = "runs/old"\n')
    assert one.model == other.model == model
    assert (one.init_from, other.init_from) == ("runs/old", "runs/s/1-tasks")
    assert [run.model for run in stages('tasks/INIT_FROM = "runs/old"\n')] == [model, model]


def test_a_stage_goes_on_with_the_same_adapters_and_folds_others_in():
    save_run("runs/old")
    same, lora = stages('INIT_FROM = "runs/old"\nLORA = 4\nchat/Lora.dropout = 0.1\n')[1], (4, "runs/s/1-tasks")
    assert same.init_from == "runs/old" and (same.lora.rank, same.lora.init_from) == lora
    for folded in ("chat/LORA = 0", "chat/LORA = 8", "chat/Lora.alpha = 4.0", 'chat/Lora.targets = "query"'):
        other = stages(f'INIT_FROM = "runs/old"\nLORA = 4\n{folded}\n')[1]
        assert (other.init_from, other.lora.init_from) == ("runs/s/1-tasks", None)
    # alpha is twice the rank by default, so this says what held before.
    assert stages('INIT_FROM = "runs/old"\nLORA = 4\nchat/Lora.alpha = 8.0\n')[1].lora.init_from == "runs/s/1-tasks"


def test_the_optimiser_is_carried_over_by_choice_and_not_into_the_first():
    assert [run.carry for run in stages('Run.carry = ("optimizer",)\n')] == [(), ("optimizer",)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("chatt/STEPS = 3", ["s.gin:6: 'chatt/STEPS' is of no stage", "did you mean 'chat'?"]),
        ("nowhere/Optimizer.b2 = 0.9", ["'nowhere/Optimizer.b2' is of no stage", "STAGES are tasks, chat"]),
        ("chat/inner/STEPS = 3", ["has a scope within the stage"]),
        ('chat/INIT_FROM = "x"', ["stage 'chat' starts from 'tasks'", "leave INIT_FROM out"]),
        ('chat/RUN_DIR = "x"', ["RUN_DIR is of all stages"]),
        ('STAGES = ("one",)', ["names 'one' alone"]),
        ('STAGES = ("one", "two", "one")', ["names 'one' more than once"]),
        ('STAGES = ("1st", "a b")', ["STAGES has '1st'", "STAGES has 'a b'", "begins with a letter"]),
        ("STAGES = 3", ["STAGES is 3, wanted names in quotes"]),
        ("chat/STEPZ = 3", ["stage 'chat': s.gin:6: nothing reads the macro 'STEPZ'"]),
        ("chat/BATCH_SIZE = 0\ntasks/SEED = -1", ["stage 'tasks': SEED is -1", "stage 'chat': BATCH_SIZE is 0"]),
        ("LOG_PERIOD = 0", ["LOG_PERIOD is 0"]),
        ('chat/MODEL = "llama_starter"', ["stage 'chat' has another model than stage 'tasks'", "architecture"]),
        ("chat/Model.embed_dim = 64", ["embed_dim 64, 128 there"]),
        ('chat/VOCABULARY = "byte"', ["stage 'chat' has VOCABULARY 'byte'", "without a stage's name"]),
        ('chat/SPECIAL_TOKENS = ("<x>",)', ["SPECIAL_TOKENS"]),
        (
            'Run.carry = ("optimizer",)\nchat/Optimizer.name = "adafactor"',
            ["carries the optimiser of 'tasks'", "Optimizer.name is 'adafactor', was 'adamw'"],
        ),
        ('tasks/Run.carry = ("optimizer",)', ["Run.carry is ('optimizer',), but INIT_FROM names no run"]),
        ("tasks/REPLAY_FRACTION = 0.2", ["stage 'tasks'", "no stage before it"]),
    ],
)
def test_what_makes_no_stages_is_refused(text, words):
    with pytest.raises(UserError) as refused:
        stages(f"{text}\n")
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("name", "mixtures", "replayed"),
    [
        ("stages", ("starter", "starter_chats"), "starter"),
        ("stages_llama_1b", ("flan2021", "oasst,sharegpt"), "flan2021"),
        ("demonstrations/forgetting", None, None),
    ],
)
def test_packaged_stages_resolve(name, mixtures, replayed):
    one, other = runs(f"--gin_file={name}.gin")
    assert mixtures in (None, (one.mixture, other.mixture)) and other.replay.mixture == replayed
    assert other.init_from == one.run_dir and one.eval_mixture == other.eval_mixture


def test_a_fault_of_all_stages_is_told_once():
    with pytest.raises(UserError) as refused:
        stages("LOG_PERIOD = 0\nchat/BATCH_SIZE = 0\n")
    assert len(refused.value.each()) == 2 and "stage 'tasks'" not in str(refused.value)


def test_scopes_without_stages_and_stages_of_other_commands_are_refused():
    with pytest.raises(UserError, match="has a scope, which nothing reads"):
        resolved("train", "--mixture", "m", "--gin.chat/STEPS=3")
    write("s.gin", STAGES)
    with pytest.raises(UserError, match="`flan-jax inspect` looks at one run"):
        resolve(*command_line.parse(["inspect", "--gin_file=s.gin"]))
    write("rows.jsonl", '{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(UserError, match="--data trains on the file itself"):
        runs("--gin_file=s.gin", "--data", "rows.jsonl")
