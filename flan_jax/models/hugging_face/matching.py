"""The tensors that a model needs against those that there are: all that is missing, left over or misshapen, at once."""

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import Protocol

from flan_jax.models.hugging_face.names import Placement
from flan_jax.models.hugging_face.safetensors_file import DTYPES

_SHOWN = 8

# Tensors of older files that no model reads any more: rotary tables, and a bias that T5's first release had.
_UNREAD = re.compile(r"rotary_emb\.inv_freq$|EncDecAttention\.relative_attention_bias\.weight$")


class Found(Protocol):
    """What is known of a tensor before it is read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in the file."""

    @property
    def code(self) -> str:
        """Its type, as safetensors calls it."""


def match(
    places: Iterable[Placement], tensors: Mapping[str, Found], settings: str
) -> tuple[tuple[Placement, ...], list[str]]:
    """Finds every tensor of a model.

    Args:
      places: what the model needs.
      tensors: what there is, by name.
      settings: where the model's shape was said.

    Returns:
      The placements under the names that there are, and a sentence on those that are missing, one on those left over,
      one on those that are not as they should be; none where all is well.
    """
    found: list[Placement] = []
    missing: list[str] = []
    misshapen: list[str] = []
    wanted: set[str] = set()
    for place in places:
        names = [name for name in (place.tensor, *place.aliases) if name in tensors]
        wanted |= {place.tensor, *place.aliases}
        if not names:
            missing.append(place.tensor)
            continue
        found.append(dataclasses.replace(place, tensor=names[0]))
        for name in names:
            entry = tensors[name]
            if entry.shape != place.file_shape:
                misshapen.append(f"{name} is {list(entry.shape)}, wanted {list(place.file_shape)}")
            if entry.code not in DTYPES:
                misshapen.append(f"{name} has type {entry.code}, wanted {', '.join(DTYPES)}")
    extra = [name for name in tensors if name not in wanted and not _UNREAD.search(name)]
    faults = [f"{_count(names, 'is', 'are')} missing: {_listed(names)}" for names in (missing,) if names]
    faults += [f"{_count(names, 'is', 'are')} unexpected: {_listed(names)}" for names in (extra,) if names]
    faults += [f"{_count(names, 'does', 'do')} not fit {settings}: {_listed(names)}" for names in (misshapen,) if names]
    return tuple(found), faults


def _count(names: list[str], one: str, more: str) -> str:
    return f"1 tensor {one}" if len(names) == 1 else f"{len(names)} tensors {more}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
