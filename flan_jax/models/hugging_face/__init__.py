"""Hugging Face folders: config.json, safetensors and tokenizer files, read into our models and written back.

`read_folder` looks at a folder without JAX; `load_params` brings its tensors onto a mesh; `save_folder` writes one.
"""

from typing import TYPE_CHECKING, Any

from flan_jax.models.hugging_face.folder import Folder, is_folder, read_folder

if TYPE_CHECKING:
    from flan_jax.models.hugging_face.exporting import save_folder
    from flan_jax.models.hugging_face.placing import load_leaves, load_params

__all__ = ["Folder", "is_folder", "load_leaves", "load_params", "read_folder", "save_folder"]

_WITH_JAX = {"load_leaves": "placing", "load_params": "placing", "save_folder": "exporting"}


def __getattr__(name: str) -> Any:
    if name in _WITH_JAX:
        import importlib

        return getattr(importlib.import_module(f"{__name__}.{_WITH_JAX[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
