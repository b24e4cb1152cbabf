"""Models: an encoder-decoder (T5 1.1) and a decoder (Llama's shape), and decoding for both.

A model's config is read without JAX; the rest is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

from flan_jax.models.config import ModelConfig

if TYPE_CHECKING:
    from flan_jax.models.model import Model, abstract_model, build

__all__ = ["Model", "ModelConfig", "abstract_model", "build"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from flan_jax.models import model

    return getattr(model, name)
