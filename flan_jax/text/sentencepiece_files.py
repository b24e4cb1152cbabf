"""A SentencePiece vocabulary as tokenizer.json, so that transformers and vLLM read it without SentencePiece.

Byte-pair models whose text is not normalised, such as those of `flan-jax vocab`, come out with the same
ids; others are copied as they are (`spiece.model`, which T5's and Llama's tokenizers read).
"""

import pathlib
from typing import Any

from flan_jax.files import atomic

_SPACE = "\u2581"
SPIECE = "spiece.model"


def write_tokenizer(model: pathlib.Path, folder: pathlib.Path, extra_ids: int, begin_id: int) -> list[str]:
    """Writes what a tokenizer's folder needs.

    Args:
      model: the SentencePiece model.
      folder: where the files go.
      extra_ids: sentinels `<extra_id_0>`, … that come after its pieces, the last one first.
      begin_id: the token that the model reads before every text; -1 for none.

    Returns:
      The names of the files written.
    """
    import sentencepiece

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    atomic.write_bytes(folder / SPIECE, [model.read_bytes()])
    size = pieces.get_piece_size()
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    for role, token in (("eos", pieces.eos_id()), ("pad", pieces.pad_id()), ("unk", pieces.unk_id())):
        if token >= 0:
            settings[f"{role}_token"] = pieces.id_to_piece(token)
    if begin_id >= 0:
        settings["bos_token"] = pieces.id_to_piece(begin_id)
    merges = _merges(pieces)
    if merges is None:
        settings |= {"tokenizer_class": "T5Tokenizer", "extra_ids": extra_ids}
        atomic.write_json(folder / "tokenizer_config.json", settings)
        return [SPIECE, "tokenizer_config.json"]
    special = [i for i in range(size) if pieces.is_control(i) or pieces.is_unknown(i)]
    names = {i: pieces.id_to_piece(i) for i in special}
    names |= {size + i: f"<extra_id_{extra_ids - 1 - i}>" for i in range(extra_ids)}
    described = {
        "version": "1.0",
        "added_tokens": [_added(i, name) for i, name in names.items()],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": _SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": _beginning(begin_id, settings["bos_token"]) if begin_id >= 0 else None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": pieces.id_to_piece(pieces.unk_id()),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {pieces.id_to_piece(i): i for i in range(size)},
            "merges": merges,
        },
    }
    atomic.write_json(folder / "tokenizer.json", described)
    atomic.write_json(folder / "tokenizer_config.json", settings)
    return ["tokenizer.json", "tokenizer_config.json", SPIECE]


def _added(number: int, name: str) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": number, "content": name, **flags}


def _beginning(number: int, name: str) -> dict[str, Any]:
    """The post-processor that puts a token before every text."""
    first, text = {"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    second = {"Sequence": {"id": "B", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": {name: {"id": name, "ids": [number], "tokens": [name]}},
    }


def _merges(pieces: Any) -> list[list[str]] | None:
    """The pairs that a byte-pair model joins, the first ones first; None for a model that cannot be said this way.

    SentencePiece keeps the joined pieces with a score that falls with each; any two pieces that make one are a pair.
    """
    kind, normalises, adds_space = _kind_of(pieces)
    if kind != "bpe" or normalises or not adds_space:
        return None
    size = pieces.get_piece_size()
    plain = [i for i in range(size) if not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i))]
    names = {pieces.id_to_piece(i): pieces.get_score(i) for i in plain}
    found = []
    for name, score in names.items():
        for cut in range(1, len(name)):
            left, right = name[:cut], name[cut:]
            if left in names and right in names:
                found.append((-score, len(left), left, right))
    return [[left, right] for _, _, left, right in sorted(found, key=lambda one: one[:2])]


def _kind_of(pieces: Any) -> tuple[str, bool, bool]:
    """Whether the model is byte-pair, whether it changes text before it cuts it, whether it puts a space in front."""
    from sentencepiece import sentencepiece_model_pb2 as messages

    model = messages.ModelProto.FromString(pieces.serialized_model_proto())  # type: ignore[attr-defined]
    trained, how = model.trainer_spec, model.normalizer_spec
    kind = "bpe" if trained.model_type == trained.BPE else "other"
    longest = max((len(piece.piece) for piece in model.pieces if piece.type == piece.USER_DEFINED), default=0)
    changes = bool(how.precompiled_charsmap) or how.remove_extra_whitespaces or longest > 1
    return kind, changes or not trained.byte_fallback, bool(how.add_dummy_prefix)
