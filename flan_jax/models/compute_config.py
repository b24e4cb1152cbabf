"""How a model is computed: settings that change its time and memory, and its result by rounding alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

REMAT_POLICIES = ("none", "dots", "full", "offload")
DTYPES = ("float32", "bfloat16")
ATTENTIONS = ("auto", "xla", "splash", "cudnn")
MOST_UNROLLED = 16  # layers; compiling 8 + 8 of them takes 2 s more than a scan on two cores


@dataclasses.dataclass(frozen=True)
class ComputeConfig:
    """How a model is computed.

    Attributes:
      dtype: what is computed in; "auto" is bfloat16 on accelerators and float32 on CPU.
      param_dtype: what parameters are kept in.
      remat: what the backward pass computes anew: "none", "dots" (all but products with weights, and what attention
        kernels gave), "full", or "offload" (as "full", with the layers' inputs in the host memory until then).
      unroll: layers in one turn of the scan over layers. 1 compiles in a time that is flat in depth; all of them trains
        10 to 15% faster on CPU. 0 is all on CPU, up to 16 layers and without remat, and 1 elsewhere.
      attention: what computes attention in training: "xla" everywhere, "splash" on TPU, "cudnn" on NVIDIA GPUs, or
        "auto": the fastest that the machine and the model allow.
    """

    WORDS: ClassVar[Mapping[str, Sequence[str]]] = {
        "remat": REMAT_POLICIES,
        "dtype": ("auto", *DTYPES),
        "param_dtype": DTYPES,
        "attention": ATTENTIONS,
    }

    dtype: str = "auto"
    param_dtype: str = "float32"
    remat: str = "none"
    unroll: int = 0
    attention: str = "auto"

    @property
    def compute_dtype(self) -> Any:
        """The JAX dtype that activations have."""
        import jax.numpy as jnp

        return jnp.dtype(self.settled(None, 1).dtype)

    def settled(self, platform: str | None, layers: int) -> Self:
        """The same config with what is left to the machine ("auto", an unroll of 0) settled.

        Args:
          platform: "cpu", "gpu" or "tpu"; None: what JAX runs on here.
          layers: of the deepest stack.

        >>> ComputeConfig().settled("cpu", 4).unroll, ComputeConfig().settled("tpu", 4).unroll
        (4, 1)
        """
        if self.dtype != "auto" and self.unroll:
            return self
        if platform is None:
            import jax

            platform = jax.default_backend()
        auto = "float32" if platform == "cpu" else "bfloat16"
        whole = platform == "cpu" and layers <= MOST_UNROLLED and self.remat == "none"
        return dataclasses.replace(
            self, dtype=auto if self.dtype == "auto" else self.dtype, unroll=self.unroll or (layers if whole else 1)
        )
