"""INIT_FROM: the model comes with what is started from, and what comes with none is told."""

import dataclasses
import sys

import pytest

from flan_jax import setup
from flan_jax.config import command_line
from flan_jax.config.resolving import resolve
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from tests.models.hugging_face.written import write

SHAPE = ["--mixture", "m", "--steps", "3"]


@pytest.fixture(autouse=True)
def caller(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def resolved(*argv: str) -> RunConfig:
    return resolve(*command_line.parse(["train", *SHAPE, *argv]))


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


def test_a_t5x_checkpoint_brings_neither_model_nor_vocabulary(tmp_path):
    (tmp_path / "t5x/target.encoder.encoder_norm.scale").mkdir(parents=True)
    (tmp_path / "t5x/checkpoint").write_bytes(b"")
    with pytest.raises(UserError, match="T5X checkpoint, which does not say its model.*--model"):
        resolved("--init_from", "t5x")
    config = resolved("--init_from", "t5x", "--model", "t5_1_1_small")
    assert config.model.embed_dim == 512
    with pytest.raises(UserError, match="holds no vocabulary for --data"):
        setup.learn_vocabulary(dataclasses.replace(config, data_files=("x.jsonl",)), None)  # type: ignore[arg-type]
