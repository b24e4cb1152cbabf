"""What a model is made of and how it is computed: one frozen dataclass for both architectures, and its checks."""

import dataclasses
import math
from collections.abc import Sequence

from flan_jax.errors import UserError, nearest, together
from flan_jax.models.compute_config import ComputeConfig
from flan_jax.models.shape_config import LAYER_KINDS, ShapeConfig

_MOST_NUMBERS = 1 << 42  # of one array, all layers together: far beyond any model


@dataclasses.dataclass(frozen=True)
class ModelConfig(ComputeConfig, ShapeConfig):
    """The shape of a model and how it is computed, side by side, as a run's settings and its config.json name them.

    Attributes: those of `ShapeConfig` and of `ComputeConfig`.
    """

    def resolved(self, platform: str | None = None) -> "ModelConfig":
        """The same config with what is left to the machine ("auto", an unroll of 0) settled.

        Args:
          platform: "cpu", "gpu" or "tpu"; by default what JAX runs on here. Name it when compiling for another machine.

        >>> ModelConfig().resolved("tpu").dtype
        'bfloat16'
        """
        encodes = self.architecture != "decoder"
        return self.settled(platform, max(self.num_decoder_layers, self.num_encoder_layers if encodes else 0))

    def check(self) -> None:
        """Refuses a config that no model can be built from.

        Raises:
          UserError: names every fault at once, each with its setting.
        """
        faults = [*self._word_faults(), *self._number_faults()] or self._size_faults()
        faults += self._joint_faults()
        if faults:
            raise UserError(together(faults, "The model's config cannot be built"))

    def _word_faults(self) -> list[str]:
        def choice(name: str, known: Sequence[str]) -> list[str]:
            value = getattr(self, name)
            if value in known:
                return []
            return [f"{name} is {value!r}, wanted one of {', '.join(known)}{nearest(str(value), known).rstrip('?')}"]

        words = {**ShapeConfig.WORDS, **ComputeConfig.WORDS}
        return [fault for name, known in words.items() for fault in choice(name, known)] + self._pattern_faults()

    def _pattern_faults(self) -> list[str]:
        strange = [kind for kind in self.layer_pattern if kind not in LAYER_KINDS]
        if self.layer_pattern and not strange:
            return []
        return [f"layer_pattern is {self.layer_pattern!r}, wanted one or more of {', '.join(LAYER_KINDS)}"]

    def _number_faults(self) -> list[str]:
        at_least = {name: 1 for name in ("embed_dim", "num_heads", "mlp_dim", "num_decoder_layers")}
        at_least |= {name: 0 for name in ("unroll", "vocab_size", "num_kv_heads", "head_dim", "window")}
        at_least |= {name: 0 for name in ("attention_cap", "logit_cap", "query_scale", "local_rope_theta")}
        if self.architecture != "decoder":
            at_least |= {"num_encoder_layers": 1, "relative_buckets": 4}
        faults = [
            f"{n} is {getattr(self, n)}, wanted {least} or more"
            for n, least in at_least.items()
            if getattr(self, n) < least
        ]
        faults += [
            f"{name} is {getattr(self, name)}, wanted more than 0"
            for name in ("rope_theta", "rope_factor", "rope_original_length", "norm_eps", "embedding_init_std")
            if not getattr(self, name) > 0
        ]
        if not 0 <= self.embedding_noise < math.inf:
            faults.append(f"embedding_noise is {self.embedding_noise}, wanted 0 or more, and finite")
        if not 0 <= self.dropout_rate < 1:
            faults.append(f"dropout_rate is {self.dropout_rate}, wanted at least 0 and less than 1")
        return faults

    def _size_faults(self) -> list[str]:
        """Arrays that nothing holds; those of more than 2^63 numbers end the compiler, and the process with it."""
        layers = max(self.num_decoder_layers, self.num_encoder_layers)
        inner = {"mlp_dim": self.mlp_dim, "num_heads x head_dim": self.num_heads * self.width}
        sizes = {f"{layers:,} layers of embed_dim x {name}": layers * self.embed_dim * n for name, n in inner.items()}
        sizes["vocab_size x embed_dim"] = self.vocab_size * self.embed_dim
        return [
            f"{what} makes an array of {size:,} numbers, wanted {_MOST_NUMBERS:,} or less"
            for what, size in sizes.items()
            if size > _MOST_NUMBERS
        ]

    def _kernel_faults(self) -> list[str]:
        """What a fused attention kernel that was asked for by name cannot compute."""
        if self.attention not in ("splash", "cudnn"):
            return []
        lacks = {
            "relative biases (architecture 'encoder_decoder')": self.architecture == "encoder_decoder",
            "prefix_lm": self.prefix_lm,
            "dropout_rate": self.dropout_rate > 0,
            "attention_cap": self.attention == "cudnn" and self.attention_cap > 0,
        }
        return [
            f"attention {self.attention!r} has no {w}: set attention to 'auto'" for w, there in lacks.items() if there
        ]

    def _joint_faults(self) -> list[str]:
        faults = []
        if self.num_heads > 0 and not self.head_dim and self.embed_dim % self.num_heads:
            faults.append(f"embed_dim {self.embed_dim} is not a multiple of num_heads {self.num_heads}: set head_dim")
        if self.num_heads > 0 and self.kv_heads > 0 and self.num_heads % self.kv_heads:
            faults.append(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}")
        if "local" in self.layer_pattern and not self.window:
            faults.append("layer_pattern has local layers, but window is 0; set window to the tokens they see")
        if self.rope_scaling == "llama3" and not self.rope_high_frequency > self.rope_low_frequency > 0:
            faults.append(
                f"rope_low_frequency is {self.rope_low_frequency} and rope_high_frequency {self.rope_high_frequency}, "
                "wanted 0 < low < high"
            )
        faults += self._kernel_faults()
        if self.architecture == "decoder":
            if self.begin_id < -1:
                faults.append(f"begin_id is {self.begin_id}, wanted a token, or -1 for none")
            if self.num_heads > 0 and self.width % 2:
                faults.append(f"head_dim is {self.width}, wanted an even number for rotary positions")
            if self.local_heads:
                faults.append(
                    "local_heads needs the relative bias of architecture 'encoder_decoder'; a decoder has none"
                )
        if self.architecture == "encoder_decoder":
            if self.relative_buckets % 2:
                faults.append(
                    f"relative_buckets is {self.relative_buckets}, wanted an even number: half for each direction"
                )
            if self.relative_max_distance <= self.relative_buckets // 2:
                faults.append(
                    f"relative_max_distance is {self.relative_max_distance}, wanted more than half of relative_buckets"
                )
            if self.begin_id < 0:
                faults.append(f"begin_id is {self.begin_id}, wanted the token that a decoder starts from")
            if self.window or "local" in self.layer_pattern:
                faults.append("window and local layers are for architecture 'decoder'")
            if self.prefix_lm:
                faults.append("prefix_lm is for architecture 'decoder'; an encoder sees its inputs whole anyway")
        return faults
