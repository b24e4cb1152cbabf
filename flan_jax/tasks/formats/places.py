"""Where a format's rows lie: a file, a pattern, an address, a name on the hub, or a source that is declared already."""

import os
from typing import Any

from flan_jax.tasks.formats import openings
from flan_jax.tasks.sources import Corpus, Source, hugging_face

Place = str | os.PathLike[str] | Source | Corpus
"""A path or pattern of files of one format; an address that fsspec knows; "hugging_face:NAME" or
"hugging_face:NAME/CONFIGURATION" of the hub, where NAME is "owner/data"; or any source, `Corpus` among them."""
_HUB = "hugging_face:"


def is_on_hub(place: Place) -> bool:
    """Whether a place is a name on the hub."""
    return isinstance(place, str) and place.startswith(_HUB)


def source_at(place: Place, validation_rows: int | None = 0, on_bad_row: str | None = None) -> Any:
    """The source of a place.

    Args:
      place: where.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50. A
        source that is declared already has its own.
      on_bad_row: "error" or "skip"; None leaves it to who reads.

    Raises:
      UserError: there is no such file, it is of no format known here, or no rows are left to train on.
    """
    if not isinstance(place, str | os.PathLike):
        return place
    path = os.fspath(place)
    if not path.startswith(_HUB):
        return openings.source_of(path, validation_rows, on_bad_row)
    owner, _, rest = path.removeprefix(_HUB).partition("/")
    data, _, configuration = rest.partition("/")
    held_out = 50 if validation_rows is None else validation_rows
    splits = {"train": f"train[{held_out}:]", "validation": f"train[:{held_out}]"} if held_out else None
    return hugging_face(f"{owner}/{data}" if data else owner, configuration or None, splits=splits)
