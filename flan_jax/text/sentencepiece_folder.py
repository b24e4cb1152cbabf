"""A Hugging Face folder with a SentencePiece model and no tokenizer.json: what transformers adds to texts, and how it
writes ids as text.

    T5      spiece.model       "</s>" after every text; sentinels behind the pieces
    Llama   tokenizer.model    "<s>" before or "</s>" after a text where tokenizer_config.json says so
"""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from flan_jax.text.tokenizer_folder import SENTENCEPIECE_FILES, TOKENIZER, TokenizerFolder

T5, LLAMA = "t5", "llama"  # the two ways that ids become text


def model_file(folder: pathlib.Path) -> pathlib.Path | None:
    """A folder's SentencePiece model; None where a tokenizer.json stands before it, or there is none."""
    if (folder / TOKENIZER).is_file():
        return None
    return next((path for name in SENTENCEPIECE_FILES if (path := folder / name).is_file()), None)


def reads_as(folder: pathlib.Path) -> str:
    """Whose tokenizer reads a folder's SentencePiece model: T5's or Llama's."""
    named = TokenizerFolder(folder).settings.get("tokenizer_class")
    if named:
        return T5 if named.startswith(("T5", "MT5", "UMT5")) else LLAMA
    found = model_file(folder)
    return T5 if found is not None and found.name == SENTENCEPIECE_FILES[0] else LLAMA


def ends_inputs(folder: pathlib.Path) -> bool:
    """Whether its texts end in end-of-sequence."""
    return reads_as(folder) == T5 or bool(TokenizerFolder(folder).settings.get("add_eos_token"))


def unused_template(folder: pathlib.Path) -> str:
    """What to say of a folder whose chat template cannot be used, for want of a tokenizer.json; else nothing."""
    if model_file(folder) is None or not TokenizerFolder(folder).chat_template:
        return ""
    return (
        f"the chat template of {folder} is not used, and prompts go without it: that needs a {TOKENIZER}, which "
        "transformers writes by AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    )


class Decoder:
    """Writes ids as transformers does with `skip_special_tokens`: unknowns, sentinels and control tokens are left out.

    Bytes are the text that they spell, for T5 as well, as SentencePiece itself has it. (The fast T5 tokenizer of
    transformers writes their names, "<0xC3>": it knows no bytes, and warns of it.)

    Args:
      model: the SentencePiece model.
      kind: `T5` or `LLAMA`.
    """

    def __init__(self, model: Any, kind: str):
        self._model, self._kind, self._known = model, kind, model.get_piece_size()

    @functools.cached_property
    def _joined(self) -> Any:
        from sentencepiece import sentencepiece_model_pb2 as messages
        from tokenizers import decoders

        if self._kind == T5:
            return decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
        described = messages.ModelProto.FromString(self._model.serialized_model_proto())  # type: ignore[attr-defined]
        steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
        # Gemma puts no space before a text, so none is taken away.
        steps += [decoders.Strip(" ", 1, 0)] if described.normalizer_spec.add_dummy_prefix else []
        return decoders.Sequence(steps)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids."""
        model = self._model
        shown = (i for i in ids if i < self._known and not (model.is_control(i) or model.is_unknown(i)))
        return self._joined.decode([model.id_to_piece(i) for i in shown])
