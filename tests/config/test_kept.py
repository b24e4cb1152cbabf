"""The configuration is read back as it was written."""

import dataclasses
import json
from pathlib import Path

import pytest

from flan_jax.config.kept import from_json, load_run, to_json, write_equivalent
from flan_jax.config.run_config import RunConfig
from flan_jax.config.training_settings import LossConfig
from flan_jax.errors import UserError
from tests.config.caller import resolved, write

GOOD = RunConfig(mixture="m", steps=3)


def own_loss(logits, targets):
    return logits


def test_json_brings_back_the_same_configuration():
    run = dataclasses.replace(GOOD, loss=LossConfig(function=own_loss), modules=("a",), mesh={"data": 2, "fsdp": -1})
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
    gin_file, module = write_equivalent(run, tmp_path / "out")
    text = module.read_text()
    compile(text, str(module), "exec")
    assert str(Path("a.jsonl").resolve()) in text and "register_files(FILES, 'user_data'" in text
    assert "MIXTURE = 'user_data'" in gin_file.read_text() and "('user_data_task',)" in gin_file.read_text()


def test_data_needs_no_gin_and_its_equivalent_means_the_same():
    write("chats.jsonl", '{"prompt": "a", "completion": "b"}\n')
    argv = ["--data", "chats.jsonl", "--seed", "3", "--gin.Model.dropout_rate=0.1"]
    run = resolved("train", *argv)
    assert run.mixture == "user_data" and run.epochs == 3.0 and run.run_dir == "runs/chats"
    assert run.data_files == (str(Path("chats.jsonl").resolve()),)
    gin_file, module = write_equivalent(run, run.run_dir)
    assert len(module.read_text().splitlines()) <= 25
    again = resolved("train", f"--gin_file={gin_file}")
    assert again.modules == ("user_data_task",) and again.data_files == ()
    assert str(gin_file.parent.resolve()) in again.module_folders
    same = {
        name: getattr(run, name) for name in ("operative", "bindings", "module_folders", "modules", "data_files")
    }  # fmt: skip
    assert dataclasses.replace(again, **same) == run
    assert resolved("train", *argv, "--steps", "4").epochs is None
