"""A SentencePiece vocabulary exported: the `tokenizers` library gives the same ids from tokenizer.json."""

import io
import json
import pathlib

import pytest
import sentencepiece
import tokenizers

import flan_jax.mixtures
from flan_jax.errors import UserError
from flan_jax.models.hugging_face.checking import PROMPTS, check_ids
from flan_jax.text.sentencepiece_files import write_tokenizer

STARTER = pathlib.Path(flan_jax.mixtures.__file__).parent / "starter/starter.model"
TEXTS = [*PROMPTS, "", " ", "abab aaaa", "Who is named first? Ann met Bob.", "  \n\n x", "<extra_id_0"]


def test_the_same_ids_and_the_same_text(tmp_path):
    assert "tokenizer.json" in write_tokenizer(STARTER, tmp_path, extra_ids=100, begin_id=-1)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(STARTER))
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in TEXTS:
        assert exported.encode(text).ids == pieces.encode(text), text
        assert exported.decode(pieces.encode(text)) == pieces.decode(pieces.encode(text)), text
    size = pieces.get_piece_size()
    assert exported.token_to_id("<extra_id_0>") == size + 99 and exported.get_vocab_size() == size + 100
    assert (tmp_path / "spiece.model").read_bytes() == STARTER.read_bytes()


def test_a_decoder_reads_its_first_token(tmp_path):
    write_tokenizer(STARTER, tmp_path, extra_ids=0, begin_id=0)
    exported = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert exported.encode("Ann").ids == [0, *exported.encode("Ann", add_special_tokens=False).ids]
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert settings["bos_token"] == settings["pad_token"] == exported.id_to_token(0)


def test_a_unigram_model_is_left_to_t5s_own_tokenizer(tmp_path):
    made = io.BytesIO()
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    sentences = [" ".join(words[i:] + words[:i]) for i in range(10)]
    trainer = sentencepiece.SentencePieceTrainer
    trainer.train(sentence_iterator=iter(sentences), model_writer=made, vocab_size=26, minloglevel=2)
    (tmp_path / "given.model").write_bytes(made.getvalue())
    (tmp_path / "out").mkdir()
    assert write_tokenizer(tmp_path / "given.model", tmp_path / "out", 100, -1) == [
        "spiece.model",
        "tokenizer_config.json",
    ]
    settings = json.loads((tmp_path / "out/tokenizer_config.json").read_text())
    assert (settings["tokenizer_class"], settings["extra_ids"]) == ("T5Tokenizer", 100)
    own = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "given.model"))
    assert check_ids(tmp_path / "out", own) == [own.encode(prompt) for prompt in PROMPTS]


def test_a_tokenizer_with_other_ids_is_seen(tmp_path):
    write_tokenizer(STARTER, tmp_path, extra_ids=0, begin_id=-1)
    path = tmp_path / "tokenizer.json"
    described = json.loads(path.read_text())
    described["model"]["merges"] = described["model"]["merges"][:-200]
    path.write_text(json.dumps(described))
    with pytest.raises(UserError, match="its tokenizer gives"):
        check_ids(tmp_path, sentencepiece.SentencePieceProcessor(model_file=str(STARTER)))
