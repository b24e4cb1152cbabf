"""The decoder-only model: Llama, Mistral, Qwen, Gemma, OLMo 2; causal, or with the inputs seen whole (prefix LM)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from flan_jax.models.attention import AttentionContext
from flan_jax.models.config import ModelConfig
from flan_jax.models.kv_cache import KVCache, UnstackedKVCache
from flan_jax.models.layers import Embedding
from flan_jax.models.masks import PackedMask, mask_bias, segment_mask
from flan_jax.models.positions import rotary_embedding, rotary_frequencies
from flan_jax.models.stack import Context, Stack

C = TypeVar("C", bound=KVCache | UnstackedKVCache)


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
        return self.logits(self.hidden(batch, dropout_key=dropout_key))

    def logits(self, x: Float[Array, "B L D"]) -> Float[Array, "B L V"]:
        """Reads float32 logits off the output of `hidden`."""
        return self.embedding.logits(x)

    def hidden(self, batch: Mapping[str, Array], *, dropout_key: PRNGKeyArray | None = None) -> Float[Array, "B L D"]:
        """The stack's output after its last norm, from which logits are read; arguments as above."""
        segments = batch["decoder_segment_ids"]
        prefix = batch["decoder_prefix_mask"] if self.config.prefix_lm else None
        context = self._context(
            lambda window: segment_mask(segments, segments, causal=True, prefix=prefix, window=window),
            batch["decoder_positions"],
        )
        if not self.config.prefix_lm:
            window, kinds = self.config.window, self.config.local_layers
            packed = PackedMask(segments, window if all(kinds) else 0, window if any(kinds) else 0)
            context = dataclasses.replace(context, packed=packed)
        x = self.embedding.noisy(batch["decoder_input_tokens"], segments, dropout_key)
        return self.decoder(x, context, dropout_key=dropout_key)[0]

    def prefill(self, inputs: Int[Array, "B Lp"], capacity: int) -> tuple[KVCache, Float[Array, "B V"]]:
        """Reads prompts, once.

        Args:
          inputs: one prompt a row, padded right with -1.
          capacity: how many tokens may follow.

        Returns:
          A cache, and float32 logits of the first new token.
        """
        config = self.config
        # With a token to begin from, the model reads it and the prompt, so that the prompt's last token predicts.
        tokens = inputs if config.begin_id < 0 else jnp.pad(inputs, ((0, 0), (1, 0)), constant_values=config.begin_id)
        valid = self._valid(inputs)
        segments = valid.astype(jnp.int32)
        prefix = segments if config.prefix_lm else None
        context = self._context(
            lambda window: segment_mask(segments, segments, causal=True, prefix=prefix, window=window),
            jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape),
        )
        x, prompt = self.decoder(self.embedding(tokens), context, return_keys_values=True)
        last = jnp.take_along_axis(x, jnp.maximum(valid.sum(axis=1) - 1, 0)[:, None, None], axis=1)
        new = self.decoder.empty_cache(inputs.shape[0], capacity)
        return KVCache(new, prompt=prompt.block()), self.logits(last)[:, 0]

    def extend(
        self, cache: C, tokens: Int[Array, "B n"], index: Int[Array, ""] | int, inputs: Int[Array, "B Lp"]
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
        valid = self._valid(inputs)
        prompt, fed, keys = valid.shape[1], index + jnp.arange(tokens.shape[1]), cache.capacity
        positions = valid.sum(axis=1)[:, None] + fed[None]

        def among_new(window: int) -> Bool[Array, "1 n K"]:
            back = fed[:, None] - jnp.arange(keys)[None, :]
            return ((back >= 0) & (back < (window or keys)))[None]

        def among_prompt(window: int) -> Bool[Array, "B n Lp"]:
            near = positions[:, :, None] - jnp.arange(prompt) < window if window else True
            return valid[:, None, :] & near

        context = self._context(among_new, positions, among_prompt, index)
        x, cache = self.decoder(self.embedding(tokens), context, cache=cache)
        return self.logits(x), cache

    def _valid(self, inputs: Array) -> Array:
        """Which of the positions that are read hold a token: the first, where there is one to begin from, and the
        prompt's own. [B, Lp + 1] or [B, Lp]."""
        first = 0 if self.config.begin_id < 0 else 1
        return jnp.pad(inputs >= 0, ((0, 0), (first, 0)), constant_values=True)

    def _context(
        self,
        allowed: Callable[[int], Array],
        positions: Array,
        allowed_prompt: Callable[[int], Array] | None = None,
        index: Array | int = 0,
    ) -> Context:
        """What the layers share: for each kind of layer, whom it sees within its window, and its positions."""
        config = self.config

        def of_kind(local: bool) -> AttentionContext:
            window = config.window if local else 0
            prompt = () if allowed_prompt is None else (mask_bias(allowed_prompt(window)),)
            rotary = rotary_embedding(positions, rotary_frequencies(config, local=local))
            return AttentionContext((mask_bias(allowed(window)),), rotary, prompt)

        locals_ = config.local_layers
        far = of_kind(all(locals_))
        return Context(far, of_kind(True) if any(locals_) and not all(locals_) else None, index=index)
