"""What is wrong with a configuration is told all at once, each fault by the setting that mends it."""

import dataclasses

import pytest

from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError

GOOD = RunConfig(mixture="m", steps=3)


def changed(path: str, value: object) -> RunConfig:
    section, _, name = path.rpartition(".")
    if not section:
        return dataclasses.replace(GOOD, **{name: value})
    return dataclasses.replace(GOOD, **{section: dataclasses.replace(getattr(GOOD, section), **{name: value})})


def test_a_good_configuration_passes():
    check(GOOD)
    check(RunConfig(), needs=())


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("batch_size", "4", "BATCH_SIZE: wanted a whole number, got '4'"),
        ("batch_size", 4.0, "BATCH_SIZE: wanted a whole number, got 4.0"),
        ("batch_size", True, "BATCH_SIZE: wanted a whole number, got True"),
        ("steps", "3", "STEPS: wanted a whole number or None"),
        ("epochs", "x", "EPOCHS: wanted a number or None"),
        ("mixture", None, "MIXTURE: wanted a string, got None"),
        ("feature_lengths", {"inputs": "64"}, "FEATURE_LENGTHS: wanted a dict, each key a string"),
        ("modules", "my_tasks", "Run.modules: wanted a tuple, each a string"),
        ("data.on_long", "cut", "Data.on_long: wanted one of 'truncate', 'refuse', 'drop', got 'cut'"),
        ("data.pack", 1, "Data.pack: wanted True or False, got 1"),
        ("evaluation.ranking", "max", "Evaluation.ranking: wanted one of 'sum', 'mean', 'unconditional'"),
        ("evaluation.max_new_tokens", 0, "Evaluation.max_new_tokens is 0"),
        ("curriculum.by", "size", "Curriculum: by is 'size', wanted 'length', 'loss' or 'field:NAME'"),
        ("curriculum.by", "field:", "Curriculum: by is 'field:', wanted 'length', 'loss' or 'field:NAME'"),
        ("curriculum.hard_first", True, "Curriculum: hard_first is True, and by names nothing"),
        ("curriculum.measured_by", "runs/a", "Curriculum: measured_by is 'runs/a', which goes with by = 'loss'"),
        ("curriculum.tasks", ("a", "a"), "Curriculum: tasks is ('a', 'a'), wanted each name once"),
        ("curriculum.joins", (0.5,), "Curriculum: joins is (0.5,), wanted a part of the run for each of tasks, ()"),
        ("curriculum.joins", (0.5, 0.1), "Curriculum: joins is (0.5, 0.1), wanted parts of the run from 0"),
        ("curriculum.joins", (1.0,), "Curriculum: joins is (1.0,), wanted parts of the run from 0 to less than 1"),
        ("checkpoints.keep", 0, "Checkpoints.keep is 0, wanted 1 or more"),
        ("optimizer.learning_rate", "fast", "LEARNING_RATE: wanted a number, got 'fast'"),
        ("optimizer.schedule", 3, "Optimizer.schedule: wanted one of 'constant'"),
        ("loss.function", "xent", "Loss.function: wanted a function (@module.name) or None"),
        ("loss.label_smoothing", 1.5, "label_smoothing is 1.5"),
        ("loss.task_weights", {"rte": -1.0}, "Loss: task_weights has -1.0 for 'rte', it must be 0 or more"),
        ("loss.prompt_weight", -0.1, "Loss: prompt_weight is -0.1, it must be 0 or more"),
        ("loss.prompt_weight", 0.1, "Loss.prompt_weight is 0.1, and Model.architecture is 'encoder_decoder'"),
        ("pretraining.loss_weight", -2.0, "Pretraining: loss_weight is -2.0, wanted 0 or more"),
        ("pretraining.rows", {"inputs": 8}, "Pretraining: rows is {'inputs': 8}, wanted a length of 1 or more"),
        ("pretraining.rows", {"inputs": 8, "targets": 8}, "and PRETRAINING names no task that they are of"),
        ("pretraining.batch_size", 8, "Pretraining: batch_size is 8, and rows is None: text is in the rows of MIXTURE"),
        ("pretraining.batch_size", 0, "Pretraining: batch_size is 0, wanted 1 or more"),
        ("distillation.top_k", 0, "Distillation: top_k is 0, it must be 1 to 4,096"),
        ("distillation.weight", 1.5, "Distillation: weight is 1.5, it must be 0 to 1"),
        ("distillation.temperature", 0.0, "Distillation: temperature is 0.0, it must be above 0"),
        ("model.embedding_noise", -1.0, "embedding_noise is -1.0, wanted 0 or more"),
        ("optimizer.ema", 1.0, "ema is 1.0, it must be above 0 and below 1"),
        ("optimizer.decay_fraction", 0.0, "decay_fraction is 0.0, it must be above 0"),
        ("optimizer.decay", "sqrt", "Optimizer.decay: wanted one of 'linear', '1-sqrt'"),
        ("optimizer.groups", {"a": 0.1}, "Optimizer.groups: wanted a dict, each key a string and each value a dict"),
        ("optimizer.groups", {"a": {"frozn": True}}, "groups['a']: it sets 'frozn'"),
        ("stopping.patience", 0, "Stopping: patience is 0, it must be 1 or more"),
        ("stopping.min_delta", -1.0, "Stopping: min_delta is -1.0"),
        ("stopping.metric", "mean/score", "Stopping.metric is 'mean/score', but nothing is scored on the way"),
        ("model.embed_dim", "wide", "Model.embed_dim: wanted a whole number"),
        ("model.num_heads", 0, "num_heads is 0"),
        ("epochs", 0.0, "EPOCHS is 0.0, wanted more than 0"),
        ("epochs", float("inf"), "EPOCHS: wanted a number"),
        ("optimizer.learning_rate", float("nan"), "LEARNING_RATE: wanted a number"),
        ("steps", 0, "STEPS is 0, wanted 1 or more"),
        ("mesh", {}, "MESH is {}"),
        ("data_fields", {"prompt": "a"}, "--fields"),
        ("special_tokens", "<|a|>", "SPECIAL_TOKENS: wanted a tuple, each a string, got '<|a|>'"),
        ("special_tokens", ("<|a|>", " "), "SPECIAL_TOKENS is ('<|a|>', ' '), wanted no empty text among them"),
        ("special_tokens", ("a", "b", "a"), "SPECIAL_TOKENS names 'a' more than once; keep one each"),
        ("special_tokens", ("\ud800",), "SPECIAL_TOKENS holds half of a pair of UTF-16, which is no text: '\\ud800'"),
        ("batch_size", 1_048_577, "BATCH_SIZE is 1,048,577, wanted 1,048,576 or less"),
        (
            "feature_lengths",
            {"inputs": 10**8, "targets": 8},
            "FEATURE_LENGTHS is {'inputs': 100000000, 'targets': 8}, ",
        ),
        ("feature_lengths", {"inputs": 8, "targets": 2**22 + 1}, "wanted 4,194,304 tokens or less for each"),
        ("steps", 2**31, "STEPS is 2,147,483,648, wanted 2,147,483,647 or less"),
        ("seed", 2**63, "SEED is 9,223,372,036,854,775,808, wanted"),
        ("data.max_draws", 2**20 + 1, "Data.max_draws is 1,048,577, wanted 1,048,576 or less"),
        ("data.window", 10**9, "Data.window is 1,000,000,000, wanted 16,777,216 or less"),
        ("data.prefetch", 10**6, "Data.prefetch is 1,000,000, wanted 1,024 or less"),
        ("data.threads", 10**6, "Data.threads is 1,000,000, wanted 1,024 or less"),
        ("evaluation.batch_size", 10**9, "Evaluation.batch_size is 1,000,000,000, wanted"),
        ("evaluation.max_new_tokens", 10**8, "Evaluation.max_new_tokens is 100,000,000, wanted"),
        ("evaluation.num_beams", 10**6, "Evaluation.num_beams is 1,000,000, wanted"),
        (
            "model.relative_max_distance",
            10**26,
            "Model.relative_max_distance: wanted a whole number up to 2,147,483,647",
        ),
        ("model.mlp_dim", 2**31, "Model.mlp_dim: wanted a whole number up to 2,147,483,647, got 2,147,483,648"),
        ("optimizer.warmup_steps", 10**26, "Optimizer.warmup_steps: wanted a whole number up to"),
        ("log_period", 2**31, "LOG_PERIOD: wanted a whole number up to"),
    ],
)
def test_each_fault_is_told_by_the_setting_that_mends_it(path, value, told):
    with pytest.raises(UserError) as fault:
        check(changed(path, value))
    assert told in str(fault.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"batch_size": 600_000, "feature_lengths": {"inputs": 4096, "targets": 128}},
            "BATCH_SIZE 600,000 x FEATURE_LENGTHS {'inputs': 4096, 'targets': 128} makes 2,534,400,000 tokens a step",
        ),
        (
            {"steps": 2**31 - 1, "batch_size": 1024},
            "STEPS 2,147,483,647 x BATCH_SIZE 1,024 makes 2,199,023,254,528 rows",
        ),
    ],
)
def test_what_settings_make_together_is_bounded_too(changes, told):
    with pytest.raises(UserError) as fault:
        check(dataclasses.replace(GOOD, **changes))
    assert told in str(fault.value)


def test_the_largest_sizes_pass():
    large = {"inputs": 2**22, "targets": 2**22}
    check(dataclasses.replace(GOOD, feature_lengths=large, batch_size=256, steps=2**31 - 1))
    check(dataclasses.replace(GOOD, feature_lengths={"inputs": 2040, "targets": 8}, batch_size=2**20, steps=2**20))


def test_all_faults_are_told_at_once():
    bad = dataclasses.replace(changed("model.embed_dim", "wide"), batch_size=0, steps=None, mixture="")
    with pytest.raises(UserError, match="4 settings need mending") as fault:
        check(bad)
    for word in ("Model.embed_dim", "BATCH_SIZE", "STEPS", "MIXTURE"):
        assert word in str(fault.value)


def test_tasks_that_join_want_a_run_of_a_known_length():
    joining = dataclasses.replace(changed("curriculum.tasks", ("a", "b")), steps=None, epochs=2.0)
    with pytest.raises(UserError, match="Curriculum.tasks join .* give STEPS in the place of EPOCHS"):
        check(joining)
    check(dataclasses.replace(joining, steps=3, epochs=None))
    check(dataclasses.replace(changed("curriculum.by", "length"), steps=None, epochs=2.0))


def test_what_ends_a_run_and_what_is_kept_of_it_go_by_one_mode():
    scored = dataclasses.replace(GOOD, eval_mixture="evals", eval_period=10)
    stopping = lambda **settings: dataclasses.replace(scored.stopping, **settings)
    check(dataclasses.replace(scored, stopping=stopping(metric="mean/score")))
    check(dataclasses.replace(scored, stopping=stopping(metric="a/score", mode="min")))
    with pytest.raises(UserError, match="Stopping.mode is 'min' and Checkpoints.best_mode 'max'"):
        check(dataclasses.replace(scored, stopping=stopping(metric="mean/score", mode="min")))
