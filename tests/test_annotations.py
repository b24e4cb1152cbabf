"""Values beside the annotations of dataclasses: what fits, and what is made to."""

from flan_jax.annotations import check_types, conform, fits
from flan_jax.config.run_config import RunConfig

GOOD = RunConfig(mixture="m", steps=3)


def test_ints_serve_as_floats_and_lists_as_tuples():
    run = conform(GOOD, {"epochs": 2, "modules": ["a", "b"]})
    assert run.epochs == 2.0 and type(run.epochs) is float and run.modules == ("a", "b")
    assert type(conform(GOOD.optimizer, {"clip_norm": 1}).clip_norm) is float
    assert check_types(run) == []
    assert conform(GOOD, {"modules": [1]}).modules == [1]  # left for check_types to find


def test_fits_looks_into_containers():
    assert fits({"a": 1}, dict[str, int]) and not fits({"a": "1"}, dict[str, int]) and not fits({1: 1}, dict[str, int])
    assert fits((1, "a"), tuple[int, str]) and not fits((1,), tuple[int, str])
    assert fits(None, int | None) and not fits(1.5, int | None)
