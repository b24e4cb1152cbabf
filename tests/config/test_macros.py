"""The names of settings lead to fields, and back."""

from flan_jax.config.macros import MACROS, SECTIONS, T5X_NAMES, setting
from flan_jax.config.run_config import RunConfig


def test_every_macro_has_a_field():
    for macro, row in MACROS.items():
        section, _, name = row.target.partition(".")
        target = RunConfig() if section == "Run" else getattr(RunConfig(), SECTIONS[section])
        assert hasattr(target, name) and setting(f"{SECTIONS[section]}.{name}".lstrip(".")) == macro


def test_t5x_names_are_no_names_of_ours():
    assert not set(T5X_NAMES) & set(MACROS)
