"""The shapes that are trained and decoded, the batches of them, and what a step of one must multiply.

It knows nothing of flan_jax, JAX or torch: every side reads it, in whatever environment it lives.
"""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Shape:
    """A model and a batch; names as in `flan_jax.models.ModelConfig`."""

    name: str
    architecture: str
    vocab_size: int
    embed_dim: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    mlp_dim: int
    num_layers: int
    batch: int
    inputs: int
    targets: int

    @property
    def encodes(self) -> bool:
        """Whether it is an encoder-decoder; otherwise rows are `inputs` long and `targets` is 0."""
        return self.architecture == "encoder_decoder"

    @property
    def tokens(self) -> int:
        """Positions of a batch."""
        return self.batch * (self.inputs + self.targets)

    @property
    def parameters(self) -> int:
        """Parameters in matrices."""
        attention, mlp = self._layer()
        stacks = 3 * attention + 2 * mlp if self.encodes else attention + mlp
        return self.num_layers * stacks + (1 + self.encodes) * self.vocab_size * self.embed_dim

    @property
    def flops(self) -> float:
        """Floating-point operations of a step's matrix products: forward, and twice that backward."""
        attention, mlp = self._layer()
        heads = self.num_heads * self.head_dim
        scores = lambda queries, keys: 2 * queries * keys * heads
        if self.encodes:
            kv = 2 * self.embed_dim * self.num_kv_heads * self.head_dim
            weights = self.inputs * (attention + mlp + kv) + self.targets * (2 * attention - kv + mlp)
            seen = scores(self.inputs, self.inputs) + scores(self.targets, self.targets + self.inputs)
            read = self.targets
        else:
            weights, seen, read = self.inputs * (attention + mlp), scores(self.inputs, self.inputs), self.inputs
        row = self.num_layers * (weights + seen) + read * self.vocab_size * self.embed_dim
        return 6.0 * self.batch * row

    def _layer(self) -> tuple[int, int]:
        attention = 2 * self.embed_dim * self.head_dim * (self.num_heads + self.num_kv_heads)
        return attention, 3 * self.embed_dim * self.mlp_dim

    def bytes_of_token(self, new_tokens: int, item: int) -> float:
        """Bytes that making one token of every row reads, of `item` a number: weights, and keys and values so far."""
        attention, mlp = self._layer()
        kv = 2 * self.embed_dim * self.num_kv_heads * self.head_dim  # of an encoder-decoder read with the prompt alone
        weights = self.num_layers * ((2 * attention - kv if self.encodes else attention) + mlp)
        kept = self.num_layers * 2 * self.num_kv_heads * self.head_dim * (self.inputs + new_tokens / 2)
        return item * (weights + self.vocab_size * self.embed_dim + self.batch * kept)

    def batches(self, count: int = 4, seed: int = 0) -> list[dict[str, np.ndarray]]:
        """Rows of random tokens without padding: "inputs" [B, L], and "targets" [B, Lt] of an encoder-decoder."""
        random, made = np.random.default_rng(seed), []
        for _ in range(count):
            draw = lambda length: random.integers(3, self.vocab_size, (self.batch, length), dtype=np.int32)
            made.append({"inputs": draw(self.inputs)} | ({"targets": draw(self.targets)} if self.encodes else {}))
        return made


SHAPES = {
    "t5": Shape("t5", "encoder_decoder", 32_128, 512, 6, 6, 64, 1024, 8, 8, 256, 64),
    "qwen3": Shape("qwen3", "decoder", 32_128, 512, 8, 4, 128, 1536, 11, 4, 512, 0),
}
TINY = {
    "t5": Shape("t5", "encoder_decoder", 512, 32, 2, 2, 16, 64, 2, 2, 16, 8),
    "qwen3": Shape("qwen3", "decoder", 512, 32, 2, 1, 16, 64, 2, 2, 24, 0),
}
TITLES = {"t5": "T5-1.1-small", "qwen3": "Qwen3, 60M"}
LEARNING_RATE, WEIGHT_DECAY, B1, B2, EPS = 1e-4, 0.01, 0.9, 0.999, 1e-8


def shape_of(given: dict[str, Any]) -> Shape:
    """The shape that a parent has sent as JSON."""
    return Shape(**given)
