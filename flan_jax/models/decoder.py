"""The decoder-only model: Llama's shape, causal or with the inputs seen whole (prefix LM)."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.models.attention import KeysValues, mask_bias, rotary, segment_mask
from flan_jax.models.config import ModelConfig
from flan_jax.models.layers import Embedding
from flan_jax.models.stack import Cache, Context, Stack


class Decoder(nnx.Module):
    """One stack over inputs and targets alike."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embedding = Embedding(config, rngs=rngs)
        self.decoder = Stack(config, config.num_decoder_layers, cross=False, rngs=rngs)

    def __call__(self, batch: Mapping[str, Array], *, dropout_key: PRNGKeyArray | None = None) -> Float[Array, "B L V"]:
        """Logits of every position's next token, teacher-forced.

        Args:
          batch: "decoder_input_tokens", "decoder_segment_ids", "decoder_positions" [B, L], and for a prefix LM
            "decoder_prefix_mask", 1 where the input token is the segment's first (0) or one of its inputs. Rows may be
            packed.
          dropout_key: None for no dropout.

        Returns:
          float32 logits for `decoder_target_tokens`.
        """
        segments = batch["decoder_segment_ids"]
        prefix = batch["decoder_prefix_mask"] if self.config.prefix_lm else None
        context = Context(
            self_biases=(mask_bias(segment_mask(segments, segments, causal=True, prefix=prefix)),),
            turns=self._turns(batch["decoder_positions"]),
        )
        x, _ = self.decoder(self.embedding(batch["decoder_input_tokens"]), context, dropout_key=dropout_key)
        return self.embedding.logits(x)

    def start(self, inputs: Int[Array, "B Lp"], room: int) -> tuple[Cache, Float[Array, "B V"]]:
        """Reads prompts, once.

        Args:
          inputs: one prompt a row, padded right with 0.
          room: how many tokens may follow.

        Returns:
          A cache, and float32 logits of the first new token.
        """
        config = self.config
        tokens = jnp.pad(
            inputs, ((0, 0), (1, 0))
        )  # the model reads 0 ++ prompt, so that the prompt's last token predicts
        valid = self._valid(inputs)
        segments = valid.astype(jnp.int32)
        prefix = segments if config.prefix_lm else None
        positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        context = Context(
            self_biases=(mask_bias(segment_mask(segments, segments, causal=True, prefix=prefix)),),
            turns=self._turns(positions),
        )
        x, prompt = self.decoder(self.embedding(tokens), context, keep=True)
        last = jnp.take_along_axis(x, (valid.sum(axis=1) - 1)[:, None, None], axis=1)
        shape = (config.num_decoder_layers, inputs.shape[0], room, config.kv_heads, config.width)
        empty = jnp.zeros(shape, config.compute_dtype)
        return Cache(new=KeysValues(empty, empty), prompt=prompt), self.embedding.logits(last)[:, 0]

    def extend(
        self, cache: Cache, tokens: Int[Array, "B n"], index: Int[Array, ""] | int, inputs: Int[Array, "B Lp"]
    ) -> tuple[Float[Array, "B n V"], Cache]:
        """Feeds tokens after those already in the cache.

        Args:
          cache: from `start` or an earlier call.
          tokens: the next n tokens of every row.
          index: how many tokens have been fed since `start`.
          inputs: the prompts, as in `start`.

        Returns:
          float32 logits of the token after each, and the cache.
        """
        queries, keys = tokens.shape[1], cache.new.keys.shape[-3]
        valid = self._valid(inputs)
        order = jnp.arange(keys)[None, :] <= (index + jnp.arange(queries))[:, None]
        positions = valid.sum(axis=1)[:, None] + index + jnp.arange(queries)[None]
        context = Context(
            self_biases=(mask_bias(order[None]),),
            prompt_biases=(mask_bias(valid[:, None, :]),),
            turns=self._turns(positions),
            index=index,
        )
        x, cache = self.decoder(self.embedding(tokens), context, cache=cache)
        return self.embedding.logits(x), cache

    def _valid(self, inputs: Array) -> Array:
        """Which of the positions of 0 ++ prompt are read: the first and the prompt's own. [B, Lp + 1]."""
        return jnp.pad(inputs > 0, ((0, 0), (1, 0)), constant_values=True)

    def _turns(self, positions: Array) -> tuple[Array, Array]:
        return rotary(positions, self.config.width, self.config.rope_theta)
