"""Folders with a SentencePiece model and no tokenizer.json: prompts and texts are what transformers makes of them."""

import pytest
import sentencepiece

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.models.hugging_face import originals
from flan_jax.run_folder import RunFolder
from flan_jax.tasks import vocabularies
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.codec import Codec
from flan_jax.text.sentencepiece_folder import unused_template
from flan_jax.text.tokenizer_files import begin_id
from tests import sentencepiece_folders
from tests.sentencepiece_folders import DECODED, KINDS, ids_of


@pytest.fixture(scope="module", params=list(KINDS))
def folder(request, tmp_path_factory):
    return sentencepiece_folders.write(tmp_path_factory.mktemp("folders") / request.param, request.param)


@pytest.fixture
def imported(folder, tmp_path):
    """What `flan-jax import` writes of a tokenizer."""
    originals.copy_files(folder, tmp_path / "run" / originals.KEPT, ("config.json", *originals.BESIDE_WEIGHTS))
    vocabulary.keep(vocabularies.describe(str(folder)), tmp_path / "run")
    return tmp_path / "run"


def test_texts_of_ids_are_those_of_transformers(folder, imported):
    codec = Codec(vocabulary.kept(imported))
    for tokens, text in DECODED.get(folder.name, []):
        ids = ids_of(folder, tokens)
        assert codec._reader.decode(ids) == text, tokens
    if folder.name == "t5":
        assert codec.pieces(ids_of(folder, ["<extra_id_7>", "▁is"])) == ["<extra_id_7>", "▁is"]


def test_prompts_end_as_transformers_ends_texts_and_as_training_does(folder, imported):
    ends = {"t5": True, "mt5": True, "llama": False, "llama_ends": True, "gemma": False}[folder.name]
    assert RunFolder(imported).prompt_form() == ("{}", ends)
    assert vocabularies.ends_inputs(str(folder)) == ends
    # Tuned further, the run's own data is read and ended in the same way.
    config = RunConfig(mixture="m", run_dir=str(imported.parent / "next"), init_from=str(imported))
    named = setup.vocabulary_of(config)
    assert vocabularies.ends_inputs(named) == ends
    ours, theirs = vocabularies.describe(named), vocabulary.kept(imported)
    assert {**ours, "path": ""} == {**theirs, "path": ""}


def test_the_beginning_is_the_one_that_the_folder_names(folder):
    (path,) = folder.glob("*.model")
    bos = sentencepiece.SentencePieceProcessor(model_file=str(path)).bos_id()
    assert begin_id(folder, None) == (bos if folder.name in ("llama", "gemma") else -1)


def test_bytes_that_t5s_fast_tokenizer_does_not_know_are_text(tmp_path):
    folder = sentencepiece_folders.write(tmp_path / "mt5", "mt5")
    codec = Codec(vocabularies.describe(str(folder)))
    assert codec._reader.decode(codec.encode("plum 🍑 is")) == "plum 🍑 is"


def test_a_chat_template_that_goes_unused_is_told(tmp_path):
    folder = sentencepiece_folders.write(tmp_path / "llama", "llama")
    assert unused_template(folder) == ""
    (folder / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert f"the chat template of {folder} is not used" in unused_template(folder)
    (folder / "tokenizer.json").write_text("{}")
    assert unused_template(folder) == ""
