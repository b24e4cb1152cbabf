"""What a command starts from: the model comes with it, and what comes with none is told."""

import dataclasses

import pytest

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from tests.config.caller import SHAPE, resolved, save_run, write
from tests.models.hugging_face.written import write as write_model


def trained(*argv: str) -> RunConfig:
    return resolved("train", *SHAPE, *argv)


def test_a_hugging_face_folder_brings_its_model(tmp_path):
    write_model(tmp_path / "model", "gemma3")
    changed = trained("--init_from", "model", '--gin.Model.dtype="bfloat16"')
    assert (changed.model.window, changed.model.qk_norm, changed.model.vocab_size) == (8, "head", 40)
    assert changed.model.dtype == "bfloat16"
    assert trained("--init_from", "model", "--model", "t5_starter").model.architecture == "encoder_decoder"
    assert setup.vocabulary_of(changed) == str(tmp_path / "model")
    (tmp_path / "model/model.safetensors").unlink()
    with pytest.raises(UserError, match="--init_from: model cannot be loaded: it has neither"):
        trained("--init_from", "model")


def test_a_t5x_checkpoint_brings_neither_model_nor_vocabulary(tmp_path):
    (tmp_path / "t5x/target.encoder.encoder_norm.scale").mkdir(parents=True)
    (tmp_path / "t5x/checkpoint").write_bytes(b"")
    with pytest.raises(UserError, match="T5X checkpoint, which does not say its model.*--model"):
        trained("--init_from", "t5x")
    config = trained("--init_from", "t5x", "--model", "t5_1_1_small")
    assert config.model.embed_dim == 512
    with pytest.raises(UserError, match="does not say its vocabulary, which --data is read with; set VOCABULARY"):
        setup.learn_vocabulary(dataclasses.replace(config, data_files=("x.jsonl",)), None)  # type: ignore[arg-type]


def test_a_model_may_be_the_callers_own_file():
    write("tiny.gin", 'include "models/llama_starter.gin"\nModel.embed_dim = 32\n')
    run = resolved("train", *SHAPE, "--model", "tiny", "--gin.Model.mlp_dim=48")
    assert (run.model.architecture, run.model.embed_dim, run.model.mlp_dim) == ("decoder", 32, 48)


def test_init_from_brings_the_model_along_unless_another_is_named():
    save_run("runs/first", model=dataclasses.replace(ModelConfig(), embed_dim=96))
    assert resolved("train", *SHAPE, "--init_from", "runs/first").model.embed_dim == 96
    assert resolved(
        "train", *SHAPE, "--init_from", "runs/first", "--gin.Model.mlp_dim=40"
    ).model == dataclasses.replace(ModelConfig(), embed_dim=96, mlp_dim=40)
    assert resolved("train", *SHAPE, "--init_from", "runs/first", "--model", "t5_starter").model.embed_dim == 128


def test_eval_and_generate_start_from_the_saved_run():
    save_run("runs/first", mixture="saved", batch_size=5, epochs=2.0, steps=None)
    run = resolved("eval", "--run_dir", "runs/first", "--gin.EVAL_EXAMPLES=9")
    assert (run.mixture, run.batch_size, run.evaluation.max_examples, run.run_dir) == ("saved", 5, 9, "runs/first")
    assert resolved("generate", "--run_dir", "runs/first", "--seed", "3").seed == 3
    assert resolved("inspect", "--run_dir", "runs/first").mixture == "saved"
    write("first.gin", 'MIXTURE = "other"\n')  # the command line that trained serves as well
    assert resolved("eval", "--gin_file=first.gin").batch_size == 5


def test_the_adapters_of_a_run_bring_their_settings_and_base_along():
    save_run("runs/base")
    save_run("runs/lora", init_from="runs/base", lora=LoraConfig(rank=4, alpha=6.0, targets="query"))
    found = resolved("train", *SHAPE, "--gin.Lora.init_from='runs/lora'")
    assert (found.init_from, found.lora.rank, found.lora.alpha, found.lora.targets) == ("runs/base", 4, 6.0, "query")
    assert resolved("train", *SHAPE, "--gin.Lora.init_from='runs/lora'", "--lora", "0").lora.rank == 0  # folded in
    with pytest.raises(UserError, match="Lora.init_from is runs/base, a run that trained no adapters"):
        resolved("train", *SHAPE, "--gin.Lora.init_from='runs/base'")
