"""Folders with a SentencePiece model and no tokenizer.json beside transformers: ids and texts."""

import random

import pytest
import sentencepiece
import transformers

from flan_jax.text import sentencepiece_folder
from flan_jax.text.tokenizer_files import begin_id
from tests import sentencepiece_folders
from tests.sentencepiece_folders import DECODED, KINDS, ids_of


@pytest.fixture(params=list(KINDS))
def read(request, tmp_path):
    """The folder, transformers' tokenizer of it, and the SentencePiece model."""
    folder = sentencepiece_folders.write(tmp_path / request.param, request.param)
    model = sentencepiece.SentencePieceProcessor(model_file=str(sentencepiece_folder.model_file(folder)))
    return folder, transformers.AutoTokenizer.from_pretrained(folder), model


def test_what_is_put_around_a_text_is_transformers(read):
    folder, theirs, model = read
    begin, ends = begin_id(folder, model.bos_id()), sentencepiece_folder.ends_inputs(folder)
    begin = begin if "t5" not in folder.name else -1  # a decoder's start is no token of the text
    for text in ("plum is", "Is Oslo a fruit?"):
        ours = [*([begin] if begin >= 0 else []), *model.encode(text), *([model.eos_id()] if ends else [])]
        assert theirs(text)["input_ids"] == ours


def test_texts_are_transformers(read):
    """Any ids; of T5 no bytes, which its fast tokenizer does not know and writes by their names."""
    folder, theirs, model = read
    kind = sentencepiece_folder.reads_as(folder)
    ours, drawn = sentencepiece_folder.Decoder(model, kind), random.Random(0)
    size = model.get_piece_size() + (100 if folder.name == "t5" else 0)
    known = [i for i in range(size) if kind != "t5" or i >= model.get_piece_size() or not model.is_byte(i)]
    for _ in range(2000):
        ids = drawn.choices(known, k=drawn.randrange(1, 12))
        assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=True), ids
    for tokens, text in DECODED.get(folder.name, []):
        assert theirs.decode(ids_of(folder, tokens), skip_special_tokens=True) == text
