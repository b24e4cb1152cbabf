"""Mixtures that come with flan_jax, one small file a dataset."""

import importlib
import types

#: Modules of mixtures that could not be imported, and why: what needs them is not registered, all else is.
BROKEN: dict[str, str] = {}


def module_or_none(name: str) -> types.ModuleType | None:
    """Imports a module of mixtures; None for one that cannot be, which is noted in `BROKEN`."""
    if name in BROKEN:
        return None
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever its author left in it
        BROKEN[name] = f"{type(error).__name__}: {error}"
        return None
