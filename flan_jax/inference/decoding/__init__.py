"""Decoding and scoring for both architectures: every prompt is read once.

Each function compiles once for a set of shapes, whatever the tokens are: pad prompts and options with -1 to a few fixed
lengths. They may also be called inside a function that is jitted already. A model that is decoded with again and again
is given `laid_out` once, which is otherwise done in every call.
"""

from flan_jax.inference.decoding.beams import beam_search
from flan_jax.inference.decoding.layout import laid_out
from flan_jax.inference.decoding.scoring import score_options
from flan_jax.inference.decoding.tokens import Decoded, advance, begin, greedy, sample

__all__ = ["Decoded", "advance", "beam_search", "begin", "greedy", "laid_out", "sample", "score_options"]
