"""Against SentencePiece itself, text by text."""

import io
import json
import random

import pytest
import sentencepiece

from flan_jax.tasks.words import word_encoder

LINES = ["the soup was cold and the waiter was rude", "Paris is the capital of France.", "naïve café, 3.5 kg!"] * 50
ODD = [
    " ",
    "  ",
    "\t",
    "\n",
    "\u0300",
    "\u0308",
    "▁",
    "\u00a0",
    "\u3000",
    "\u200b",
    "A",
    "a",
    "é",
    "😀",
    "ﬁ",
    "\0",
    "Ａ",
    "あ",
    "the",
    ".",
]


def model(**options):
    made = io.BytesIO()
    options = {"vocab_size": 120, "minloglevel": 2, **options}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(LINES), model_writer=made, **options)
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


def fuzz(count=3000):
    draw = random.Random(0)
    return ["".join(draw.choice(ODD) for _ in range(draw.randint(0, 20))) for _ in range(count)]


KEPT_SPACES = {"remove_extra_whitespaces": False, "normalization_rule_name": "identity"}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byte_fallback": True, "vocab_size": 400, "hard_vocab_limit": False},
        KEPT_SPACES,
        {**KEPT_SPACES, "add_dummy_prefix": False},
        {"user_defined_symbols": ["<sep>", "é"]},
    ],
    ids=["plain", "byte fallback", "spaces kept", "no prefix", "user's symbols"],
)
def test_ids_are_those_of_the_model(options):
    made = model(model_type="bpe", **options)
    encoder = word_encoder(made)
    texts = [*LINES[:3], *fuzz(), "<sep>a<sep> b"]
    assert encoder.encode(texts) == made.encode(texts)
    assert encoder.encode(texts) == made.encode(texts)  # now that the words are known


def test_real_prompts(real_data, tmp_path):
    files = sorted((real_data / "t0_train_50k").glob("*.jsonl"))[::12]
    texts = [json.loads(line)["prompt"] for path in files for line in path.open()]
    prefix = str(tmp_path / "m")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts[:500]), model_prefix=prefix, vocab_size=2000, model_type="bpe", minloglevel=2
    )
    made = sentencepiece.SentencePieceProcessor(model_file=f"{prefix}.model")
    assert len(texts) > 3000 and word_encoder(made).encode(texts) == made.encode(texts)


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram", "vocab_size": 36, "hard_vocab_limit": False},
        {"model_type": "bpe", "split_by_whitespace": False},
    ],
)
def test_models_whose_words_depend_on_their_neighbours_are_left_alone(options):
    assert word_encoder(model(**options)) is None
