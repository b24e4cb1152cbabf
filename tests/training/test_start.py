"""A run's first state out of a Hugging Face folder: its parameters, its vocabulary, its files in the run's folder."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

import flan_jax.mixtures
from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.config.training_settings import LossConfig
from flan_jax.errors import UserError
from flan_jax.models.hugging_face import originals, read_folder, save_folder
from flan_jax.parallel.mesh import make_mesh
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.sentencepiece_files import write_tokenizer
from flan_jax.text.tokenizer_fields import read_json
from flan_jax.text.tokenizer_folder import TokenizerFolder
from flan_jax.training.optimizer import OptimizerConfig
from flan_jax.training.program import make_program
from flan_jax.training.start import fresh_state
from tests.models.hugging_face.written import CONFIGS, tensors_of, write
from tests.tokenizer_folders import byte_level

STARTER = pathlib.Path(flan_jax.mixtures.__file__).parent / "starter/starter.model"


@pytest.fixture
def folder(tmp_path):
    """An encoder-decoder with a SentencePiece model."""
    tensors = tensors_of("t5")
    tensors["shared.weight"] = np.resize(tensors["shared.weight"], (1408, 16))
    made = write(tmp_path / "model", "t5", tensors, CONFIGS["t5"] | {"vocab_size": 1408, "dropout_rate": 0.0})
    write_tokenizer(STARTER, made, extra_ids=100, begin_id=-1)
    return made


def test_a_state_begins_with_the_folders_tensors(folder, tmp_path):
    config = RunConfig(init_from=str(folder), model=read_folder(folder).model)
    mesh = make_mesh({"data": 1}, jax.devices()[:1])
    program = make_program(mesh, config.model, OptimizerConfig(), LossConfig(), steps=2, num_tasks=1)
    described = {"kind": "sentencepiece", "path": str(STARTER)}
    state = fresh_state(config, described, program, mesh)
    assert int(state["step"]) == 0 and jax.tree.structure(state) == jax.tree.structure(program.abstract)
    save_folder(tmp_path / "out", state["params"], config.model, read_folder(folder).raw)
    given, taken = (load_file(place / "model.safetensors") for place in (folder, tmp_path / "out"))
    assert given.keys() == taken.keys() and all(np.array_equal(given[name], taken[name]) for name in given)
    with pytest.raises(UserError, match=r"its own tokenizer.json, the tasks use another vocabulary \(byte \)"):
        fresh_state(config, {"kind": "byte", "path": None}, program, mesh)
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, mlp_dim=32))
    with pytest.raises(UserError, match="another model than MODEL"):
        fresh_state(other, described, program, mesh)


def test_the_vocabulary_must_be_one_of_the_folders(folder, tmp_path):
    for name in ("tokenizer.json", "spiece.model"):
        vocabulary.check_folder({"kind": "any", "path": str(folder / name)}, folder)
    vocabulary.check_folder({"kind": "tokenizers", "path": str(folder)}, folder)
    changed = tmp_path / "tokenizer.json"
    changed.write_bytes((folder / "tokenizer.json").read_bytes() + b" ")
    with pytest.raises(UserError, match=f"give the tasks vocabulary='{folder}'"):
        vocabulary.check_folder({"kind": "tokenizers", "path": str(changed)}, folder)
    for name in ("tokenizer.json", "spiece.model"):
        (folder / name).unlink()
    vocabulary.check_folder({"kind": "byte", "path": None}, folder)  # there is nothing to compare


def test_a_run_keeps_the_folders_small_files_and_hands_them_on(folder, tmp_path):
    originals.keep(folder, tmp_path / "first")
    (tmp_path / "first/hugging_face/config.json").touch()
    for path in folder.iterdir():  # the folder may go
        path.unlink()
    originals.keep(folder, tmp_path / "first")
    originals.keep(tmp_path / "first", tmp_path / "second")
    originals.keep(tmp_path / "nothing", tmp_path / "third")
    kept = {path.name for path in (tmp_path / "second/hugging_face").iterdir()}
    assert kept == {"config.json", "tokenizer.json", "tokenizer_config.json", "spiece.model", "tensors.json"}
    layout = originals.layout(tmp_path / "second")
    assert layout is not None and set(layout) == set(tensors_of("t5")) and set(layout.values()) == {"F32"}
    assert originals.layout(tmp_path / "third") is None


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_a_state_has_rows_for_the_tokens_that_a_run_adds(kind, tmp_path):
    """With tied tables and with a head of its own; what is kept of the folder tells of them."""
    tensors = {name: np.resize(array, (314, 16)) if array.shape == (40, 16) else array
               for name, array in tensors_of(kind).items()}  # fmt: skip
    base = write(tmp_path / "base", kind, tensors, CONFIGS[kind] | {"vocab_size": 314, "dropout_rate": 0.0})
    byte_level(base, None)  # of 312 ids
    tokens = ("<|im_end|>", "<|a|>", "<|b|>", "<|c|>")
    own = read_folder(base).model
    config = RunConfig(init_from=str(base), special_tokens=tokens, run_dir=str(tmp_path / "run"), model=own)
    setup.extend_vocabulary(config)
    described = {"kind": "tokenizers", "path": setup.vocabulary_of(config) + "/tokenizer.json"}
    config = dataclasses.replace(config, model=setup.model_for(config, 315))
    mesh = make_mesh({"data": 1}, jax.devices()[:1])
    program = make_program(mesh, config.model, OptimizerConfig(), LossConfig(), steps=2, num_tasks=1)
    params = fresh_state(config, described, program, mesh)["params"]
    originals.keep(base, config.run_dir)
    originals.extend(setup.vocabulary_of(config), config.model.vocab_size, config.run_dir)
    raw = read_json(tmp_path / "run/hugging_face/config.json")
    assert raw == CONFIGS[kind] | {"vocab_size": 384, "dropout_rate": 0.0}
    assert TokenizerFolder(tmp_path / "run/hugging_face").size == 315
    save_folder(tmp_path / "out", params, config.model, raw)
    given, taken = (load_file(place / "model.safetensors") for place in (base, tmp_path / "out"))
    grown = {name for name in given if given[name].shape == (314, 16)}
    assert given.keys() == taken.keys() and len(grown) == (2 if kind == "llama" else 1)
    for name in given:
        assert np.array_equal(
            taken[name][:312] if name in grown else taken[name], given[name][:312] if name in grown else given[name]
        )
        if name in grown:
            np.testing.assert_allclose(taken[name][312:], [given[name][:312].mean(axis=0)] * 72, rtol=1e-5, atol=1e-6)
    other = byte_level(tmp_path / "other", None, eos_token="<|endoftext|>")
    (other / "tokenizer.json").write_bytes((other / "tokenizer.json").read_bytes() + b" ")
    with pytest.raises(
        UserError, match="another tokenizer than the one that SPECIAL_TOKENS were added to; leave VOCAB"
    ):
        fresh_state(config, described | {"path": str(other / "tokenizer.json")}, program, mesh)
