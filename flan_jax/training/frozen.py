"""The frozen base of adapters: read from where the run starts, noted in its folder, and known again when it goes on.

Checkpoints of such a run hold the adapter alone. `base.json` in its folder says where the base lay and what was in it,
so that a base that was moved is found by `--init_from`, and one that was changed is not taken for it.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from flan_jax.annotations import misfit
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.files import atomic

BASE_FILE = "base.json"
_SAME_FOR_A_RUN = ("rank", "alpha", "rs_lora", "targets")
_NOTE: dict[str, Any] = {"folder": str, "fingerprint": str, "lora": dict[str, Any]}


def place_of_base(config: RunConfig) -> str:
    """The folder of a run's base: INIT_FROM where it is there, else where it lay when the run began.

    Raises:
      UserError: neither is there, or the run's folder was begun with other adapters.
    """
    note = _read_note(config.run_dir)
    _check_same_adapters(config, note)
    given = config.init_from or ""
    if os.path.isdir(given) or not note:
        return given
    if os.path.isdir(note["folder"]):
        return note["folder"]
    raise UserError(
        f"the model that the adapters of {config.run_dir} stand beside is gone: it was {note['folder']}; put it back, "
        "or name its folder with --init_from"
    )


def known_base(config: RunConfig, place: str, found: str) -> None:
    """Compares a base with the one that the run's folder notes; notes it where nothing is noted yet.

    Args:
      config: the run.
      place: the folder that it was read from.
      found: its fingerprint.

    Raises:
      UserError: it is another one.
    """
    note = _read_note(config.run_dir)
    if note and note["fingerprint"] != found:
        raise UserError(
            f"{place} is not the model that the adapters of {config.run_dir} were trained beside: its parameters are "
            f"others ({found[:12]}, were {note['fingerprint'][:12]}); name the right folder with --init_from"
        )
    if not note and config.run_dir and jax.process_index() == 0:
        kept = {name: getattr(config.lora, name) for name in _SAME_FOR_A_RUN}
        wanted = {"folder": os.path.abspath(place), "fingerprint": found, "lora": kept}
        atomic.write_json(pathlib.Path(config.run_dir) / BASE_FILE, wanted)


def check_same_base(config: RunConfig, run: RunConfig) -> None:
    """Refuses to go on with another run's adapters beside another base than they were trained beside.

    Args:
      config: the run that goes on, whose own folder notes its base.
      run: the one whose adapters they are.
    """
    ours, theirs = _read_note(config.run_dir), _read_note(run.run_dir)
    if ours and theirs and ours["fingerprint"] != theirs["fingerprint"]:
        raise UserError(
            f"the adapters of {run.run_dir} were trained beside {theirs['folder']}, and INIT_FROM {config.init_from} "
            "is not the same model; name that with --init_from"
        )


class Fingerprint:
    """A digest of parameters: the same on any mesh, and another after any change of a name, a shape or a bit."""

    def __init__(self) -> None:
        self._leaves: dict[tuple[str, ...], Any] = {}

    def of(self, leaves: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        """Passes paths and parameters on, and takes note of them."""
        for path, leaf in leaves:
            value = leaf.get_value()
            self._leaves[tuple(map(str, path))] = [value.shape, value.dtype.name, _digest(value)]
            yield path, leaf

    def __str__(self) -> str:
        """The digest of what passed, as hexadecimal digits."""
        whole = hashlib.sha256()
        for path, (shape, dtype, sums) in sorted(self._leaves.items()):
            whole.update(json.dumps([path, shape, dtype, jax.device_get(sums).tolist()]).encode())
        return whole.hexdigest()


@jax.jit
def _digest(value: jax.Array) -> jax.Array:
    """Two sums over all elements of their bits mixed with their places; integers, so that no order matters."""
    width = value.dtype.itemsize * 8
    bits = jax.lax.bitcast_convert_type(value, jnp.dtype(f"uint{width}")).astype(jnp.uint32)
    place = jnp.zeros((), jnp.uint32)
    for axis in range(value.ndim):
        place = place * jnp.uint32(0x9E3779B1) + jax.lax.broadcasted_iota(jnp.uint32, value.shape, axis)
    sums = []
    for odd in (0x85EBCA6B, 0xC2B2AE35):
        mixed = (bits ^ (place * jnp.uint32(odd))) * jnp.uint32(0x27D4EB2F)
        mixed = (mixed ^ (mixed >> 15)) * jnp.uint32(odd)
        sums.append(jnp.sum(mixed ^ (mixed >> 13), dtype=jnp.uint32))
    return jnp.stack(sums)


def _read_note(run_dir: str) -> dict[str, Any] | None:
    path, mend = (
        pathlib.Path(run_dir) / BASE_FILE,
        "delete it, and the run's own `flan-jax train` command writes it anew",
    )
    try:
        note = atomic.read_json(path, mend)
    except FileNotFoundError:
        return None
    fault = misfit(note, _NOTE) if isinstance(note, dict) else "it holds no object"
    if fault := fault or misfit(note["lora"], dict.fromkeys(_SAME_FOR_A_RUN, Any), within="lora."):
        raise UserError(f"{path} is damaged ({fault}); {mend}")
    return note


def _check_same_adapters(config: RunConfig, note: Mapping[str, Any] | None) -> None:
    """Refuses settings that would read the adapters of an earlier run as others."""
    now = json.loads(json.dumps(dataclasses.asdict(config.lora)))
    changed = [
        f"Lora.{name} was {note['lora'][name]!r}, is {now[name]!r}"
        for name in _SAME_FOR_A_RUN
        if note and note["lora"][name] != now[name]
    ]
    if changed:
        raise UserError(
            f"the adapters of {config.run_dir} are others: {'; '.join(changed)}. Undo that, or take another --run_dir"
        )
