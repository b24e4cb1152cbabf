"""The encoder-decoder: T5, 1.0 and 1.1, mT5, UMT5, UL2."""

from collections.abc import Mapping
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from flan_jax.models.attention import AttentionContext
from flan_jax.models.config import ModelConfig
from flan_jax.models.kv_cache import KVCache, UnstackedKVCache
from flan_jax.models.layers import Embedding
from flan_jax.models.masks import mask_bias, segment_mask
from flan_jax.models.positions import RelativeBias
from flan_jax.models.stack import Context, Stack

C = TypeVar("C", bound=KVCache | UnstackedKVCache)


class EncoderDecoder(nnx.Module):
    """An encoder that sees its inputs whole and a decoder that looks at its output."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.embedding = Embedding(config, rngs=rngs)
        self.per_layer = config.relative_bias == "per_layer"
        if not self.per_layer:
            self.encoder_bias = RelativeBias(config, bidirectional=True, rngs=rngs)
        self.encoder = Stack(config, config.num_encoder_layers, cross=False, rngs=rngs)
        if not self.per_layer:
            self.decoder_bias = RelativeBias(config, bidirectional=False, rngs=rngs)
        self.decoder = Stack(config, config.num_decoder_layers, cross=True, rngs=rngs)

    def __call__(
        self, batch: Mapping[str, Array], *, dropout_key: PRNGKeyArray | None = None
    ) -> Float[Array, "B Lt V"]:
        """Logits of the targets, teacher-forced.

        Args:
          batch: "encoder_input_tokens", "encoder_segment_ids" [B, Li]; "decoder_input_tokens", "decoder_segment_ids"
            [B, Lt]. Rows may be packed.
          dropout_key: None for no dropout.

        Returns:
          float32 logits for `decoder_target_tokens`.
        """
        return self.logits(self.hidden(batch, dropout_key=dropout_key))

    def logits(self, x: Float[Array, "B L D"]) -> Float[Array, "B L V"]:
        """Reads float32 logits off the output of `hidden`."""
        return self.embedding.logits(x)

    def hidden(self, batch: Mapping[str, Array], *, dropout_key: PRNGKeyArray | None = None) -> Float[Array, "B Lt D"]:
        """The decoder's output after its last norm, from which logits are read; arguments as above."""
        encoder_key, decoder_key = (None, None) if dropout_key is None else jax.random.split(dropout_key)
        encoder_segments, segments = batch["encoder_segment_ids"], batch["decoder_segment_ids"]
        encoded = self.encode(batch["encoder_input_tokens"], encoder_segments, dropout_key=encoder_key)
        length = segments.shape[1]
        crossing = segment_mask(segments, encoder_segments) & (segments > 0)[:, :, None]
        context = Context(
            *self._attention(segment_mask(segments, segments, causal=True), length, length, self.decoder),
            memory=encoded,
            memory_biases=(mask_bias(crossing),),
            sees_memory=crossing.any(axis=-1),
        )
        x = self.embedding.noisy(batch["decoder_input_tokens"], segments, decoder_key)
        return self.decoder(x, context, dropout_key=decoder_key)[0]

    def encode(
        self, tokens: Int[Array, "B Li"], segments: Int[Array, "B Li"], *, dropout_key: PRNGKeyArray | None = None
    ) -> Float[Array, "B Li D"]:
        """The encoder's output; attention stays within equal segments."""
        length = tokens.shape[1]
        context = Context(*self._attention(segment_mask(segments, segments), length, length, self.encoder))
        return self.encoder(self.embedding.noisy(tokens, segments, dropout_key), context, dropout_key=dropout_key)[0]

    def _attention(
        self, allowed: Array, queries: int, keys: int, stack: Stack, first: Array | int = 0
    ) -> tuple[AttentionContext, None, tuple[int, int, Array | int] | None]:
        """The first fields of a `Context`: mask and relative bias, or what layers need to make their own."""
        if self.per_layer:
            return AttentionContext((mask_bias(allowed),)), None, (queries, keys, first)
        bias = self.encoder_bias if stack is self.encoder else self.decoder_bias
        return AttentionContext((mask_bias(allowed), bias(queries, keys, first))), None, None

    def prefill(self, inputs: Int[Array, "B Li"], capacity: int) -> tuple[KVCache, Float[Array, "B V"]]:
        """Encodes prompts, once, and takes the decoder's first step.

        Args:
          inputs: one prompt a row, padded right with -1.
          capacity: how many tokens may follow.

        Returns:
          A cache, and float32 logits of the first new token.
        """
        memory = self.decoder.cross_keys_values(self.encode(inputs, (inputs >= 0).astype(jnp.int32)))
        cache = KVCache(new=self.decoder.empty_cache(inputs.shape[0], capacity + 1), memory=memory)
        begin = jnp.full((inputs.shape[0], 1), self.config.begin_id, jnp.int32)
        logits, cache = self._step(cache, begin, 0, inputs)
        return cache, logits[:, 0]

    def extend(
        self, cache: C, tokens: Int[Array, "B n"], index: Int[Array, ""] | int, inputs: Int[Array, "B Li"]
    ) -> tuple[Float[Array, "B n V"], C]:
        """Feeds tokens after those already in the cache.

        Args:
          cache: from `prefill` or an earlier call; or that of `prefill` layer by layer, for `decoder.unstacked`.
          tokens: the next n tokens of every row.
          index: how many tokens have been fed since `prefill`.
          inputs: the prompts, as in `prefill`.

        Returns:
          float32 logits of the token after each, and the cache.
        """
        return self._step(cache, tokens, index + 1, inputs)

    def _step(self, cache: C, tokens: Array, index: Array | int, inputs: Array) -> tuple[Array, C]:
        queries, keys = tokens.shape[1], cache.capacity
        order = jnp.arange(keys)[None, :] <= (index + jnp.arange(queries))[:, None]
        crossing = jnp.broadcast_to((inputs >= 0)[:, None, :], (tokens.shape[0], queries, inputs.shape[1]))
        context = Context(
            *self._attention(order[None], queries, keys, self.decoder, index),
            memory_biases=(mask_bias(crossing),),
            sees_memory=crossing.any(axis=-1),
            index=index,
        )
        x, cache = self.decoder(self.embedding(tokens), context, cache=cache)
        return self.logits(x), cache
