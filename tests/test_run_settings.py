"""INIT_FROM: the model comes with what is started from, and what comes with none is told."""

import dataclasses

import pytest

from flan_jax import command_line, main, run_settings, setup
from flan_jax.config import RunConfig
from flan_jax.errors import UserError
from tests.models.hugging_face.written import write

SHAPE = ["--mixture", "m", "--steps", "3"]


@pytest.fixture(autouse=True)
def caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(main.sys, "path", list(main.sys.path))


def resolved(*argv: str) -> RunConfig:
    return main.resolve(*command_line.parse(["train", *SHAPE, *argv]))


def test_a_hugging_face_folder_brings_its_model(tmp_path):
    write(tmp_path / "model", "gemma3")
    changed = resolved("--init_from", "model", '--gin.Model.dtype="bfloat16"')
    assert (changed.model.window, changed.model.qk_norm, changed.model.vocab_size) == (8, "head", 40)
    assert changed.model.dtype == "bfloat16"
    assert resolved("--init_from", "model", "--model", "t5_starter").model.architecture == "encoder_decoder"
    assert setup.data_vocabulary(changed) == str(tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    with pytest.raises(UserError, match="--init_from: model cannot be loaded: it has neither"):
        resolved("--init_from", "model")


@pytest.mark.parametrize(
    ("binding", "flag"),
    [("data_files=('b.jsonl',)", "--data"), ("data_fields={'inputs': 'a'}", "--fields"), ("data_held_out=3", "--held")],
)
def test_a_binding_that_a_flag_beside_data_would_hide_is_told(tmp_path, binding, flag):
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 20)
    argv = ["train", "--data", "a.jsonl", "--steps", "3"]
    assert main.resolve(*command_line.parse(argv)).data_held_out is None
    with pytest.raises(UserError, match=f"beside --data, Run.{binding.partition('=')[0]} is what {flag}"):
        main.resolve(*command_line.parse([*argv, f"--gin.Run.{binding}"]))


def test_a_folder_of_data_with_a_link_to_nothing_is_told(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows/a.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "rows/b.jsonl.gz").symlink_to("gone.gz")
    (tmp_path / "rows/notes").symlink_to("gone")
    with pytest.raises(UserError, match=r"--data .*rows: b.jsonl.gz in it is a link to a file that is gone"):
        run_settings.data_files([str(tmp_path / "rows")])
    (tmp_path / "rows/b.jsonl.gz").unlink()
    assert run_settings.data_files([str(tmp_path / "rows")]) == [str(tmp_path / "rows/a.jsonl")]


def test_a_t5x_checkpoint_brings_neither_model_nor_vocabulary(tmp_path):
    (tmp_path / "t5x/target.encoder.encoder_norm.scale").mkdir(parents=True)
    (tmp_path / "t5x/checkpoint").write_bytes(b"")
    with pytest.raises(UserError, match="T5X checkpoint, which does not say its model.*--model"):
        resolved("--init_from", "t5x")
    config = resolved("--init_from", "t5x", "--model", "t5_1_1_small")
    assert config.model.embed_dim == 512
    with pytest.raises(UserError, match="holds no vocabulary for --data"):
        setup.learn_vocabulary(dataclasses.replace(config, data_files=("x.jsonl",)), None)  # type: ignore[arg-type]
