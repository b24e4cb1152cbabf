"""What gin statements call (`@fn()`), known before any of it is called.

Gin is code: `@os.system()` in a file runs a program. So whatever holds a call is left out at first, all else is
checked, and only then are the calls made: all of them for a command that trains or asks a model, and for one that
only looks those alone whose settings it shows. A function that is handed over (`@fn`) is called by nobody here, but
what gin binds its parameters to may be a call.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from flan_jax.config.gin_names import Function
from flan_jax.config.gin_statements import Statements, references

SHOWN: dict[str, tuple[str, ...]] = {
    "tasks": ("Run.modules", "Run.module_folders"),
    "rescore": (),
    "vocab": (
        "Run.mixture",
        "Run.modules",
        "Run.module_folders",
        "Run.run_dir",
        "Run.init_from",
        "Run.vocabulary",
        "Run.form",
        "Data",
    ),
    "inspect": ("Run", "Model", "Data"),
    "plan": ("Run", "Model", "Lora", "Data", "Evaluation", "Optimizer.name"),
    "prepare": ("Run", "Model", "Data", "Evaluation"),
}
"""The settings, or sections, that commands which only look make use of; other commands use all."""


def waiting(statements: Statements, functions: Mapping[str, Function]) -> set[str]:
    """The settings whose values are known only after a call.

    Args:
      statements: without faults.
      functions: those of the user's, by their names as written.
    """
    final = statements.final()
    names = {written: function.name for written, function in functions.items()}

    def calls(value: Any, seen: frozenset[str] = frozenset()) -> bool:
        for reference in references(value):
            name = reference.name if reference.macro else names[reference.name.rpartition("/")[2]]
            if reference.evaluate:
                return True
            if name in seen:
                continue
            beneath = [final[name]] if reference.macro and name in final else []
            if not reference.macro:
                beneath = [one for one in final.values() if one.parameter and names.get(one.selector) == name]
            if any(calls(one.value, seen | {name}) for one in beneath):
                return True
        return False

    found = {binding.setting for binding in final.values() if calls(binding.value)}
    return {setting for setting in found if setting}


def not_shown(command: str, settings: Collection[str]) -> set[str]:
    """Those settings that a command makes no use of."""
    if command not in SHOWN:
        return set()
    return {name for name in settings if not {name, name.partition(".")[0]} & set(SHOWN[command])}


def without(statements: Statements, settings: Collection[str]) -> Statements:
    """The statements but for those that set `settings`."""
    kept = [binding for binding in statements.bindings if binding.setting not in settings]
    return dataclasses.replace(statements, bindings=kept)
