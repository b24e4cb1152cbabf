"""What an exported folder is asked before it is called done: the ids and the logits of some prompts."""

import pathlib
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.models.model import abstract_model
from flan_jax.text.tokenizer_folder import SENTENCEPIECE_FILES

PROMPTS = (
    "Translate to German: The house is small.",
    "Is the following review positive or negative? The soup was cold and the waiter was rude.",
    "What is the capital of France?",
    "Summarize in one sentence: Ann met Bob in Rome. They ate, and then they left.",
    "Q: Why does ice float on water?\nA:",
    "def square(x):\n    return x * x\n",
    '{"name": "Ann", "age": 41, "tags": ["a", "b"]}',
    "1 + 1 = 2, 3.1415 > 3, and 10% of 1,000 is 100.",
    "  two  spaces,\ta tab\tand a line\n\n\nbreak ",
    "Le garçon mange une pêche à la crème brûlée.",
    "Ärger über Öl: große Straße, 25 °C, 3 €.",
    "Привет, как дела сегодня?",
    "今天天气很好，我们去公园吧。",
    "これは日本語の文章です。",
    "مرحبا بالعالم",
    "नमस्ते दुनिया",
    "Emoji \U0001f600 and \U0001f468\u200d\U0001f469\u200d\U0001f467, then text.",
    "UPPER lower MiXeD snake_case camelCase kebab-case",
    "https://example.org/path?query=1&other=two#part",
    "The answer is:",
)
_LONGEST = 64


class Encoder(Protocol):
    """What knows a run's ids."""

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without anything before or after it."""


def check_ids(folder: pathlib.Path, ours: Encoder) -> list[list[int]]:
    """Encodes the prompts by a folder's own tokenizer and by the run's vocabulary.

    Args:
      folder: with tokenizer.json, or a SentencePiece model, or neither (then there is nothing to compare).
      ours: the run's vocabulary.

    Returns:
      The ids of each prompt.

    Raises:
      UserError: a prompt has other ids.
    """
    wanted = [ours.encode(prompt) for prompt in PROMPTS]
    for prompt, ids, found in zip(PROMPTS, wanted, _encoded(folder) or wanted, strict=True):
        if list(ids) != list(found):
            raise UserError(
                f"{folder} was written, but its tokenizer gives {prompt!r} the ids {found}, the run's vocabulary "
                f"{ids}; do not use it, and please report this"
            )
    return wanted


def _encoded(folder: pathlib.Path) -> list[list[int]] | None:
    if (folder / "tokenizer.json").is_file():
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the library raises Exception itself
            raise UserError(
                f"{folder} was written, but its tokenizer.json cannot be read ({' '.join(str(error).split())}); do not "
                "use it, and mend that of the run's own hugging_face/"
            ) from None
        return [tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in PROMPTS]
    for name in SENTENCEPIECE_FILES:
        if (folder / name).is_file():
            import sentencepiece

            return sentencepiece.SentencePieceProcessor(model_file=str(folder / name)).encode(list(PROMPTS))
    return None


def logits_on(ids: Sequence[Sequence[int]], params: Any, config: ModelConfig, mesh: Mesh) -> np.ndarray:
    """A model's logits over prompts, teacher-forced.

    Args:
      ids: token ids of each prompt.
      params: the parameters.
      config: the model.
      mesh: where they lie.

    Returns:
      float32 [B, L, V], zeros where a prompt has no token.
    """
    length = min(_LONGEST, max(len(row) for row in ids))
    tokens, segments = (np.zeros((len(ids), length), np.int32) for _ in range(2))
    for row, prompt in enumerate(ids):
        kept = list(prompt)[:length]
        tokens[row, : len(kept)], segments[row, : len(kept)] = kept, 1
    positions = np.broadcast_to(np.arange(length, dtype=np.int32), tokens.shape)
    begin = np.full((len(ids), 1), max(config.begin_id, 0), np.int32)
    shifted = tokens if config.begin_id < 0 else np.concatenate([begin, tokens[:, :-1]], axis=1)
    batch = {"decoder_input_tokens": shifted, "decoder_segment_ids": segments, "decoder_positions": positions}
    batch |= {"encoder_input_tokens": tokens, "encoder_segment_ids": segments, "encoder_positions": positions}
    graph = nnx.split(abstract_model(config), nnx.Param)[0]

    def forward(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return nnx.merge(graph, params)(batch)

    out = jax.jit(forward, out_shardings=NamedSharding(mesh, PartitionSpec()))(params, batch)
    return np.where(segments[..., None] > 0, np.asarray(out), 0.0)
