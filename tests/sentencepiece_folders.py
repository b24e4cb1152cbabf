"""Folders of models that were published with a SentencePiece model and no tokenizer.json, made on the spot."""

import io
import json
import pathlib
from typing import Any

TEXTS = ["Is plum a fruit? It is.", "What is the capital of Norway? Oslo, by the fjord.", "one two three four"] * 20
_T5: dict[str, Any] = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
_LLAMA: dict[str, Any] = {"model_type": "bpe", "byte_fallback": True, "remove_extra_whitespaces": False}
_NAMES = {"eos_piece": "<eos>", "bos_piece": "<bos>"}
_CLASS = {"tokenizer_class": "LlamaTokenizer"}
# name: (config.json's model_type, tokenizer_config.json, the model's file, how SentencePiece learns it)
KINDS: dict[str, tuple[str, dict[str, Any] | None, str, dict[str, Any]]] = {
    "t5": ("t5", None, "spiece.model", _T5),
    "mt5": ("mt5", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}, "spiece.model", _T5 | {"byte_fallback": True}),
    "llama": ("llama", _CLASS | {"add_bos_token": True, "bos_token": "<s>"}, "tokenizer.model", _LLAMA),
    "llama_ends": ("llama", _CLASS | {"add_bos_token": False, "add_eos_token": True}, "tokenizer.model", _LLAMA),
    "gemma": (
        "gemma",
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "bos_token": "<bos>"},
        "tokenizer.model",
        _LLAMA | _NAMES | {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "add_dummy_prefix": False},
    ),
}
# What `decode(ids, skip_special_tokens=True)` gives for tokens by their names, of which sentinels are no pieces;
# tests/parity/test_sentencepiece.py compares them with transformers 5.24, where they come from.
DECODED: dict[str, list[tuple[list[str], str]]] = {
    "t5": [
        (["▁", "<unk>", "▁is"], " is"),
        (["▁is", "<extra_id_0>", "▁o", "<extra_id_99>"], "is o"),
        (["<extra_id_0>", "▁is", "</s>"], "is"),
        (["▁is", "<unk>", "<unk>", "n"], "isn"),
    ],
    "mt5": [(["▁is", "<unk>", "▁o", "<pad>"], "is o")],
    "llama": [
        (["▁is", "<0xC3>", "<0xA9>", "<0x0A>", "▁o"], "isé\n o"),
        (["<unk>", "▁o", "<s>", "n", "</s>"], "on"),
        (["<0x41>", "<0xC3>", "n"], "\ufffd\ufffdn"),
    ],
    "gemma": [
        (["▁two", "<0xC3>", "<0xA9>", "▁plum"], " twoé plum"),
        (["<unk>", "▁two", "<bos>", "n", "<eos>"], " twon"),
    ],
}


def write(folder: pathlib.Path, kind: str) -> pathlib.Path:
    """Writes a folder without weights, of one of `KINDS`."""
    import sentencepiece

    model_type, settings, name, how = KINDS[kind]
    made = io.BytesIO()
    how = {"vocab_size": 340 if "byte_fallback" in how else 60, "hard_vocab_limit": False, "minloglevel": 2, **how}
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(TEXTS), model_writer=made, **how)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(made.getvalue())
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def ids_of(folder: pathlib.Path, tokens: list[str]) -> list[int]:
    """The ids of tokens by their names; sentinels lie behind the pieces, the last one first."""
    import sentencepiece

    path = next(iter(folder.glob("*.model")))
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    sentinel = lambda token: model.get_piece_size() + 99 - int(token[10:-1])
    return [sentinel(one) if one.startswith("<extra_id_") else model.piece_to_id(one) for one in tokens]
