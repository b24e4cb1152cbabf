"""The configuration: what is checked, and that it is read back as it was written."""

import dataclasses
import json
from pathlib import Path

import pytest

from flan_jax.annotations import check_types, conform, fits
from flan_jax.config import run_config as configs
from flan_jax.config.macros import MACROS
from flan_jax.config.run_config import RunConfig, check, from_json, load_run, setting, to_json
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
        ("checkpoints.keep", 0, "Checkpoints.keep is 0, wanted 1 or more"),
        ("optimizer.learning_rate", "fast", "LEARNING_RATE: wanted a number, got 'fast'"),
        ("optimizer.schedule", 3, "Optimizer.schedule: wanted one of 'constant'"),
        ("loss.function", "xent", "Loss.function: wanted a function (@module.name) or None"),
        ("loss.label_smoothing", 1.5, "label_smoothing is 1.5"),
        ("model.embed_dim", "wide", "Model.embed_dim: wanted a whole number"),
        ("model.num_heads", 0, "num_heads is 0"),
        ("epochs", 0.0, "EPOCHS is 0.0, wanted more than 0"),
        ("epochs", float("inf"), "EPOCHS: wanted a number"),
        ("optimizer.learning_rate", float("nan"), "LEARNING_RATE: wanted a number"),
        ("steps", 0, "STEPS is 0, wanted 1 or more"),
        ("mesh", {}, "MESH is {}"),
        ("data_fields", {"prompt": "a"}, "--fields"),
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


def test_ints_serve_as_floats_and_lists_as_tuples():
    run = conform(GOOD, {"epochs": 2, "modules": ["a", "b"]})
    assert run.epochs == 2.0 and type(run.epochs) is float and run.modules == ("a", "b")
    assert type(conform(GOOD.optimizer, {"clip_norm": 1}).clip_norm) is float
    assert check_types(run) == []
    assert conform(GOOD, {"modules": [1]}).modules == [1]  # left for check_types to find


def test_fits_looks_into_containers():
    assert fits({"a": 1}, dict[str, int]) and not fits({"a": "1"}, dict[str, int]) and not fits({1: 1}, dict[str, int])
    assert fits((1, "a"), tuple[int, str]) and not fits((1,), tuple[int, str])
    assert fits(None, int | None) and not fits(1.5, int | None)


def test_every_macro_has_a_field():
    for macro, row in MACROS.items():
        section, _, name = row.target.partition(".")
        target = GOOD if section == "Run" else getattr(GOOD, configs.SECTIONS[section])
        assert hasattr(target, name) and setting(f"{configs.SECTIONS[section]}.{name}".lstrip(".")) == macro


def own_loss(logits, targets):
    return logits


def test_json_brings_back_the_same_configuration():
    run = dataclasses.replace(changed("loss.function", own_loss), modules=("a",), mesh={"data": 2, "fsdp": -1})
    text = to_json(dataclasses.replace(run, operative="# gin"))
    assert json.loads(text)["loss"]["function"] == {"function": f"{__name__}:own_loss", "arguments": {}}
    again = from_json(text)
    assert dataclasses.replace(again, loss=run.loss) == run


def test_json_keeps_what_cannot_be_found_until_it_is_called():
    saved = json.loads(to_json(GOOD))
    saved["loss"]["function"] = {"function": "gone_pkg:loss", "arguments": {}}
    run = from_json(json.dumps(saved))
    assert run.loss.function is not None
    with pytest.raises(UserError, match="gone_pkg:loss"):
        run.loss.function(1, 2)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"mixtrue": "m"}, "setting 'mixtrue' that this version does not know; did you mean 'mixture'"),
        ({"model": {"embed_dmi": 3}}, "'model.embed_dmi'"),
        ({"model": 3}, "model is 3"),
        ({"batch_size": "x"}, "BATCH_SIZE: wanted a whole number"),
        ({"loss": {"function": {"function": 5, "arguments": {}}}}, "names no function, wanted MODULE:NAME"),
    ],
)
def test_a_damaged_file_is_told(change, told):
    with pytest.raises(UserError) as fault:
        from_json(json.dumps(json.loads(to_json(GOOD)) | change), "runs/a/config.json")
    assert "runs/a/config.json" in str(fault.value) and told in str(fault.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', ""])
def test_another_file_is_no_configuration(text):
    with pytest.raises(UserError, match="does not hold the configuration"):
        from_json(text)


def test_settings_that_a_file_lacks_keep_their_defaults():
    saved = json.loads(to_json(GOOD))
    del saved["data"]["window"], saved["seed"]
    assert from_json(json.dumps(saved)) == GOOD


def test_a_run_is_read_from_its_folder_or_one_within(tmp_path):
    (tmp_path / "run/checkpoints/10").mkdir(parents=True)
    (tmp_path / "run/config.json").write_text(to_json(dataclasses.replace(GOOD, run_dir="where/it/was")))
    for place in ("run", "run/checkpoints", "run/checkpoints/10"):
        assert load_run(tmp_path / place).run_dir == str(tmp_path / "run")
    with pytest.raises(UserError, match="there is no such folder"):
        load_run(tmp_path / "run/nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config.json is in it"):
        load_run(tmp_path / "empty")


def test_several_data_files_become_one_mixture(tmp_path):
    run = dataclasses.replace(GOOD, mixture="user_data", data_files=("a.jsonl", "b.jsonl"))
    gin_file, module = configs.write_equivalent(run, tmp_path / "out")
    text = module.read_text()
    compile(text, str(module), "exec")
    assert str(Path("a.jsonl").resolve()) in text and 'f"user_data_{i}"' in text
    assert "MIXTURE = 'user_data'" in gin_file.read_text() and "('user_data_task',)" in gin_file.read_text()
