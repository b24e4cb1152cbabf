import shutil

import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import train_sentencepiece, vocabularies

TEXTS = [
    "The  plum,\n  and\tthe stone \u00a3 \u4f60\u597d \U0001f600",
    " leading and trailing ",
    "{braces} \\n <|x|>",
    "",
]


def test_ids_are_those_of_the_seqio_vocabulary(model):
    tokenizer = vocabularies.Tokenizer(model)
    vocabulary = seqio.SentencePieceVocabulary(model, extra_ids=100)
    expected = [list(vocabulary.encode(text)) for text in TEXTS]
    assert tokenizer.encode(TEXTS) == expected == [tokenizer.encode_one(text) for text in TEXTS]
    assert tokenizer.encode(TEXTS * 50) == expected * 50  # long lists go through the thread pool
    bytes_ = vocabularies.Tokenizer(seqio.ByteVocabulary())
    assert bytes_.encode(TEXTS) == [list(seqio.ByteVocabulary().encode(text)) for text in TEXTS]


def test_every_text_comes_back_exactly(model):
    tokenizer = vocabularies.Tokenizer(model)
    assert [tokenizer.decode([*ids, 1, 0, 0]) for ids in tokenizer.encode(TEXTS)] == TEXTS


@pytest.fixture(params=["small", "bytes", "normalising"])
def tokenizer(request, model, tmp_path):
    if request.param == "normalising":  # as T5's own does, it gives "f i" for a ligature and one blank for several
        options = {"normalization_rule_name": "nmt_nfkc", "remove_extra_whitespaces": True, "user_defined_symbols": []}
        texts = ["the apple and the plum", "find the stone"] * 20
        train_sentencepiece(texts, 280, tmp_path / "n.model", options)
        return vocabularies.Tokenizer(str(tmp_path / "n.model"))
    return vocabularies.Tokenizer(model if request.param == "small" else seqio.ByteVocabulary())


def test_many_rows_are_read_as_the_model_decodes_them(tokenizer):
    """Whatever stands in them: bytes, ends, padding, sentinels; blanks at the start apart."""
    vocabulary = tokenizer.vocabulary
    more = [[], [0], [2, 70, 1, 71], [vocabulary.vocab_size - 1, 70], *([one] for one in range(vocabulary.vocab_size))]
    rows = [*tokenizer.encode(TEXTS), *more]
    # Of ids it gives text up to an end: with those of before it, it reads all.
    whole = [one for one in rows if tokenizer.eos_id not in one]
    wanted = [vocabulary.decode(row).lstrip(" ") for row in whole]
    assert [text.lstrip(" ") for text in tokenizer.decode_all(whole)] == wanted
    assert all(isinstance(text, str) for text in tokenizer.decode_all(rows))


def test_prefixes_and_suffixes_are_of_the_text_itself(tokenizer):
    text = "the  apple \ufb01nd \u4f60\u597d and\n\tthe plumstone " * 3
    whole = len(tokenizer.encode_one(text))
    for tokens in (0, 1, 2, 3, 5, 8, 13, 21, whole, whole + 5):
        start, end = tokenizer.prefix(text, tokens), tokenizer.suffix(text, tokens)
        assert text.startswith(start) and text.endswith(end)
        assert len(tokenizer.encode_one(start)) <= tokens and len(tokenizer.encode_one(end)) <= tokens
    assert tokenizer.prefix(text, whole) == tokenizer.suffix(text, whole) == text
    assert len(tokenizer.encode_one(tokenizer.prefix(text, 20))) > 15


def test_a_description_tells_content_not_place(model, tmp_path):
    described = vocabularies.describe(model)
    assert described["kind"] == "sentencepiece" and described["path"] == model
    assert (described["size"], described["extra_ids"]) == (500, 100)
    assert (described["pad_id"], described["eos_id"], described["unk_id"]) == (0, 1, 2)
    moved = shutil.copy(model, tmp_path / "elsewhere.model")
    assert vocabularies.describe(str(moved))["fingerprint"] == described["fingerprint"]
    fewer = vocabularies.describe(seqio.SentencePieceVocabulary(model, extra_ids=0))
    assert fewer["size"] == 400 and fewer["fingerprint"] != described["fingerprint"]
    assert vocabularies.describe(seqio.ByteVocabulary())["kind"] == "byte"


def test_a_missing_or_broken_model_is_told_when_it_is_used(tmp_path):
    vocabularies.load(str(tmp_path / "none.model"))
    with pytest.raises(UserError, match="none.model does not exist"):
        vocabularies.describe(str(tmp_path / "none.model"))
    (tmp_path / "broken.model").write_bytes(b"no model")
    with pytest.raises(UserError, match="is no SentencePiece model"):
        vocabularies.Tokenizer(str(tmp_path / "broken.model"))


def test_training_is_deterministic_and_tells_when_texts_are_too_few(tmp_path):
    texts = ["a plum and a stone", "the river\nsings"] * 20
    for name in ("a.model", "b.model"):
        described = train_sentencepiece(texts, 290, tmp_path / name)
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()
    assert described["size"] == 390
    with pytest.raises(UserError, match="No vocabulary of 5000 pieces"):
        train_sentencepiece(texts, 5000, tmp_path / "c.model")
    assert not (tmp_path / "c.model").exists()


def test_the_starter_vocabulary_is_the_packaged_file():
    assert vocabularies.describe("starter")["path"].endswith("starter.model")


@pytest.mark.parametrize(("name", "ends"), [("spiece.model", [1, 7]), ("tokenizer.model", [1, 7]), ("own.model", [1])])
def test_a_sentencepiece_model_of_a_folder_ends_answers_as_its_config_says(name, ends, model, tmp_path):
    shutil.copy(model, tmp_path / name)
    (tmp_path / "config.json").write_text('{"eos_token_id": [1, 7]}')
    found = vocabularies.describe(seqio.SentencePieceVocabulary(str(tmp_path / name)))
    assert (found["eos_id"], found["eos_ids"]) == (1, ends)
    assert vocabularies.describe(seqio.ByteVocabulary())["eos_ids"] == [1]
