"""Models: an encoder-decoder (T5 1.1) and a decoder (Llama's shape), and decoding for both."""

from flan_jax.models.build import Model, abstract_model, build
from flan_jax.models.config import ModelConfig

__all__ = ["Model", "ModelConfig", "abstract_model", "build"]
