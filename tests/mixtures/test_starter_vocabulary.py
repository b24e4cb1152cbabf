import string

import pytest

from flan_jax.mixtures.starter import lexicon, vocabulary
from flan_jax.tasks import vocabularies

ENTITIES = sorted({word for words in lexicon.KINDS.values() for word in words} | set(lexicon.THINGS))
ANSWERS = [*ENTITIES, *lexicon.OPPOSITE_OF, *lexicon.DAYS, *lexicon.NUMBERS, "positive", "negative"]


@pytest.fixture(scope="module")
def starter():
    return vocabularies.tokenizer("starter")


def test_its_special_ids(starter):
    told = vocabularies.describe("starter")
    assert (told["pad_id"], told["eos_id"], told["unk_id"]) == (0, 1, 2)
    assert told["size"] == vocabulary.SIZE + told["extra_ids"]


def test_answers_are_single_pieces(starter):
    whole = [word for word in ANSWERS if len(starter.encode_one(word)) == 1]
    assert len(ANSWERS) > 150
    assert len(whole) >= 0.95 * len(ANSWERS)


@pytest.mark.parametrize("around", ["the {} fell", "so {}.", "- {}\n", "(A) {}, then", "it is {}?", "Answer: {}"])
def test_an_answer_reads_the_same_after_any_blank(starter, around):
    for word in ANSWERS:
        alone, inside = starter.encode_one(word), starter.encode_one(around.format(word))
        assert any(inside[at : at + len(alone)] == alone for at in range(len(inside))), word


def test_other_texts_come_back_whole(starter):
    for text in ("Naïve café, 42 °C", string.printable[:95], "two  blanks\nand a line", "日本 🙂", ""):
        assert starter.decode(starter.encode_one(text)) == text


def test_ascii_needs_no_bytes(starter):
    pieces = starter.pieces(starter.encode_one(string.digits + string.ascii_letters + string.punctuation))
    assert not [piece for piece in pieces if piece.startswith("<0x") or piece == "<unk>"]


def test_it_is_learnt_from_training_templates_alone():
    words = set(vocabulary.words())
    assert {"animal", "Which", "goat", "Anna"} <= words
    assert len(words) < 600


def test_it_regenerates_to_the_same_bytes(tmp_path):
    vocabulary.write(str(tmp_path / "again.model"))
    with open(vocabulary.PATH, "rb") as kept:
        assert (tmp_path / "again.model").read_bytes() == kept.read()
