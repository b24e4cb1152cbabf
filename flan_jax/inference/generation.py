"""How a model generates: the settings, under the names of transformers' `GenerationConfig`, and what they may be."""

import dataclasses

from flan_jax.errors import UserError
from flan_jax.inference.decoding.beams import check_beams
from flan_jax.inference.decoding.tokens import check_sampling


@dataclasses.dataclass(frozen=True)
class GenerationConfig:
    """How tokens are generated: greedily, unless there are beams or a temperature.

    Attributes:
      max_new_tokens: the longest answer, in tokens.
      min_new_tokens: the shortest.
      num_beams: answers that are followed at once, the best of which is given; 1: no search.
      length_penalty: in a search, scores are divided by length to this power.
      early_stopping: in a search, when it ends; see `decoding.beam_search`.
      temperature: 0 takes the most probable token; otherwise tokens are drawn after logits were divided by it.
      top_k: draw among the k most probable tokens; 0: all.
      top_p: draw among the most probable tokens that hold this much probability.
      seed: the same seed draws the same answer to the same prompt in the same row.
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Refuses what nothing can be generated with.

        Raises:
          UserError: names the settings to change.
        """
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {self.max_new_tokens}, wanted 1 or more")
        check_beams(self.num_beams, self.early_stopping)
        if self.temperature != 0:
            check_sampling(self.temperature, self.top_k, self.top_p)
            if self.num_beams > 1:
                raise UserError(
                    f"num_beams is {self.num_beams} and temperature {self.temperature}: a beam search draws nothing; "
                    "set num_beams to 1 or temperature to 0"
                )
