"""Text in, text out: a model with its tokenizer, the form of its prompts, and how it generates."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from flan_jax.errors import UserError
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.model import InferenceModel
from flan_jax.inference.prompts import filled_up, padded
from flan_jax.inference.stops import Stops
from flan_jax.parallel.mesh import row_ways
from flan_jax.text.codec import Codec

SURROGATE = re.compile("[\ud800-\udfff]")
"""Half of a character, which UTF-8 does not write."""


@dataclasses.dataclass(frozen=True)
class Completion:
    """What a model wrote.

    Attributes:
      text: its text, without the stop that ended it.
      score: the sum of its tokens' log-probabilities; from beams, divided by length ** length_penalty.
      token_scores: the log-probability of each token, of the one that ended it too.
    """

    text: str
    score: float
    token_scores: list[float]


class TextGenerator:
    """Completes prompts, and says how probable given targets are.

    Args:
      model: the model.
      codec: its vocabulary.
      generation: how completions are made.
      stop: texts that end a completion, and are no part of it.
      prompt_form: what is put around a prompt, as `Codec.encode_prompt` takes it.
      prompt_ends: whether a prompt ends in end-of-sequence.
      max_prompt_tokens: the longest prompt that the model was trained on.
    """

    def __init__(
        self,
        model: InferenceModel,
        codec: Codec,
        generation: GenerationConfig,
        stop: Sequence[str] = (),
        *,
        prompt_form: str,
        prompt_ends: bool,
        max_prompt_tokens: int,
    ):
        self.model, self.codec, self.generation, self.stop = model, codec, generation, stop
        self.prompt_form, self.prompt_ends, self.max_prompt_tokens = prompt_form, prompt_ends, max_prompt_tokens

    def encode(self, prompt: str) -> np.ndarray:
        """Ids of a prompt, int32 [Lp].

        Raises:
          UserError: it is too long, and cutting it would cut the instruction; or it is no text.
        """
        if SURROGATE.search(prompt):
            raise UserError("the prompt holds bytes that are not UTF-8; give it in that encoding")
        ids = self.codec.encode_prompt(prompt, self.prompt_form)  # as in training
        ids += [self.codec.eos_id] if self.prompt_ends else []
        if len(ids) > self.max_prompt_tokens:
            raise UserError(
                f"the prompt has {len(ids)} tokens and the model was trained on at most {self.max_prompt_tokens}; "
                f"shorten it, or give --feature_lengths inputs={len(ids)},targets={self.generation.max_new_tokens}"
            )
        return np.array(ids, np.int32)

    def complete(self, prompts: Sequence[str], first_row: int = 0) -> list[Completion]:
        """Completes prompts together.

        Args:
          prompts: one or more.
          first_row: which row of all that is to be completed is the first; rows draw by their number in all.

        Raises:
          UserError: a prompt is too long, or no text.
        """
        ids = [self.encode(prompt) for prompt in prompts]
        inputs = filled_up(ids, (self._rows(len(prompts)), self.max_prompt_tokens))
        stops = Stops(self.stop, self.codec.decode)
        ended = stops.ended if self.stop else None
        found = self.model.generate(inputs, self.generation, ended=ended, first_row=first_row)
        completions = []
        for tokens, score, token_scores in zip(*found, strict=True):
            count = stops.length(tokens[tokens >= 0])
            cut = count < (tokens >= 0).sum() and self.generation.num_beams == 1
            total = token_scores[:count].sum() if cut else score
            text = stops.without(self.codec.decode(tokens[:count]))
            completions.append(Completion(text, float(total), [float(value) for value in token_scores[:count]]))
        return completions[: len(prompts)]

    def log_probabilities(self, prompts: Sequence[str], targets: Sequence[str]) -> list[float]:
        """Summed log-probability of the target of each prompt, end-of-sequence included.

        Raises:
          UserError: a prompt is too long, or no text.
        """
        rows = self._rows(len(prompts))
        inputs = padded([self.encode(prompt) for prompt in prompts], (rows, self.max_prompt_tokens))
        ids = [np.array([*self.codec.encode(target), self.codec.eos_id], np.int32) for target in targets]
        longest = -(-max(len(row) for row in ids) // 16) * 16  # few shapes, few compilations
        options = padded(ids, (rows, longest))[:, None, :]
        return [float(value) for value in self.model.score_options(inputs, options)[0][: len(prompts), 0]]

    def _rows(self, prompts: int) -> int:
        """Rows of a batch of so many prompts: the mesh divides them."""
        ways = row_ways(self.model.mesh)
        return -(-prompts // ways) * ways
