"""Rows of data sets that the `datasets` library of Hugging Face reads."""

import dataclasses
import functools
import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.tasks.sources.file_source import CHEAP_BYTES, parse_slice
from flan_jax.tasks.sources.parts import part
from flan_jax.tasks.sources.source import Row, Unavailable, check_split, plain
from flan_jax.tasks.tally import Tally

_COUNTS: dict[tuple[Any, ...], int] = {}


@dataclasses.dataclass(frozen=True)
class HuggingFaceSource:
    """Rows of a Hugging Face data set; made by `hugging_face`.

    Attributes:
      path: a data set's name on the hub, a local folder, or the kind of `data_files`.
      name: its configuration.
      wanted: (split, place) pairs, such as ("validation", "train[:200]"); empty for the splits it has.
      data_files: (split, patterns) pairs.
      revision: the commit or tag on the hub.
      columns: those to read; empty for all.
      data_dir: the folder of the data set that is read, where it is not all of it.
      is_shuffled: whether rows are read in a drawn order, always the same; a split is then loaded whole.
    """

    path: str
    name: str | None = None
    wanted: tuple[tuple[str, str], ...] = ()
    data_files: tuple[tuple[str, tuple[str, ...]], ...] = ()
    revision: str | None = None
    columns: tuple[str, ...] = ()
    data_dir: str | None = None
    is_shuffled: bool = False

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has; asks the hub where they were not given."""
        return tuple(split for split, _ in self.wanted) or self._found

    @property
    def file_splits(self) -> tuple[str, ...]:
        """The splits that are read from local files."""
        return self.splits if self.data_files or os.path.isdir(self.path) else ()

    @functools.cached_property
    def _found(self) -> tuple[str, ...]:
        if self._is_saved:
            try:
                with open(os.path.join(self.path, "dataset_dict.json")) as file:
                    return tuple(json.load(file)["splits"])
            except FileNotFoundError:
                return ("train",)
        if self.data_files:
            return tuple(split for split, _ in self.data_files)
        return tuple(self._asked("get_dataset_split_names", self.path, self.name, revision=self.revision))

    @property
    def _is_saved(self) -> bool:
        """Whether `save_to_disk` wrote the folder."""
        return any(os.path.isfile(os.path.join(self.path, name)) for name in ("dataset_dict.json", "state.json"))

    def files(self, split: str) -> list[str]:
        """The local files of a split; all of its folder's where the library chooses among them."""
        own, _, _ = self._place(split)
        if self.data_files:
            patterns = dict(self.data_files).get(own, ())
            return sorted(path for pattern in patterns for path in filesystem.matching(pattern))
        folder = os.path.join(self.path, own) if self._is_saved and self._in_folders else self.path
        found = glob.iglob(os.path.join(glob.escape(folder), "**"), recursive=True) if os.path.isdir(folder) else ()
        return sorted(path for path in found if os.path.isfile(path))

    @property
    def _in_folders(self) -> bool:
        return os.path.isfile(os.path.join(self.path, "dataset_dict.json"))

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the data set's order; see `Source`. Hub data are streamed."""
        check_split(split, self.splits, "name it in hugging_face(splits=...)")
        own, first, last = self._place(split)
        stop = last if stop is None else first + stop if last is None else min(first + stop, last)
        start += first

        def open_at(number: int) -> Iterator[Row]:
            return iter(self._rows_from(own, number))

        # Ids are the rows' own numbers, so that slices of one split tell a row by the same name.
        for number, row in enumerate(part(self, (own, *self._state(split)), open_at, start, stop), start):
            yield f"{own}:{number}", plain(row)

    def where(self, split: str, row_id: str) -> str:
        """The data set and the row's number."""
        return f"row {row_id.rpartition(':')[2]} of {self.path} {split!r}"

    def num_rows(self, split: str) -> int | None:
        """What the data set says of itself; small local files are counted once."""
        own, first, last = self._place(split)
        whole = self._count(own, split)
        return None if whole is None else len(range(*slice(first, last).indices(whole)))

    def _place(self, split: str) -> tuple[str, int, int | None]:
        """The data set's own split, and the first and last row of it."""
        own, bracket, inner = dict(self.wanted).get(split, split).partition("[")
        first, last = parse_slice(bracket + inner or "[:]")
        if (first or 0) < 0 or (last or 0) < 0:
            whole = self._count(own, split)
            if whole is None:
                raise UserError(
                    f"hugging_face({self.path!r}): how many rows {own!r} has is not known, so the slice of {split!r} "
                    f"cannot count from its end; count from its start."
                )
            first, last, _ = slice(first, last).indices(whole)
        return own, first or 0, last

    def _state(self, split: str) -> tuple[Any, ...]:
        return tuple(map(filesystem.state, self.files(split))) if split in self.file_splits else ()

    def _count(self, own: str, split: str) -> int | None:
        if self._is_saved:
            return len(self._saved(own))
        if not self.file_splits:
            told = self._asked("load_dataset_builder", self.path, self.name, revision=self.revision).info.splits or {}
            return told[own].num_examples if own in told else None
        whole = dataclasses.replace(self, wanted=())
        paths = whole.files(own)
        key = (whole, own, *map(filesystem.state, paths))
        if key not in _COUNTS:
            if sum(map(filesystem.size, paths)) > CHEAP_BYTES:
                return None
            _COUNTS[key] = sum(1 for _ in self._rows_from(own, 0))
        return _COUNTS[key]

    def _saved(self, own: str) -> Any:
        saved = self._asked("load_from_disk", self.path)
        return (saved[own] if self._in_folders else saved).with_format(None)

    def _rows_from(self, own: str, number: int) -> Any:
        if self._is_saved:
            data = self._saved(own)
        else:
            files = {split: list(patterns) for split, patterns in self.data_files} or None
            how: dict[str, Any] = dict(split=own, data_files=files, data_dir=self.data_dir, revision=self.revision)
            how["streaming"] = not self.is_shuffled
            data = self._asked("load_dataset", self.path, self.name, **how)
        if self.is_shuffled:
            data = data.select(sorted(range(len(data)), key=lambda row: hashlib.sha256(b"%d" % row).digest()))
        if self.columns:
            data = data.select_columns(list(self.columns))
        return data.skip(number) if number else data

    def _asked(self, function: str, *arguments: Any, **keywords: Any) -> Any:
        try:
            import datasets
        except ImportError:
            raise Unavailable(
                f"hugging_face({self.path!r}) is read by the package datasets, which is not installed: "
                f"pip install 'flan-jax[hf]'."
            ) from None
        try:
            return getattr(datasets, function)(*arguments, **keywords)
        except (OSError, ValueError) as error:
            raise Unavailable(
                f"hugging_face({self.path!r}) cannot be read ({error}); check its path, name and revision, or save it "
                f"beforehand with its save_to_disk and give that folder."
            ) from None


def hugging_face(
    path: str | os.PathLike[str],
    name: str | None = None,
    *,
    splits: Iterable[str] | Mapping[str, str] | None = None,
    data_files: Mapping[str, str | Iterable[str]] | None = None,
    revision: str | None = None,
    columns: Iterable[str] = (),
) -> HuggingFaceSource:
    """A data set that the `datasets` library reads (`pip install 'flan-jax[hf]'`); nothing is read before it is used.

    Args:
      path: the name of a data set on the hub, which is streamed; a local folder, of files or written by
        `save_to_disk`; or a kind of file ("json", "csv", "parquet", …) with `data_files`.
      name: the data set's configuration.
      splits: the names of the splits to use, or a mapping of names to parts of its own, for example
        {"train": "train[200:]", "validation": "train[:200]"}; None for those it has.
      data_files: paths or patterns by split.
      revision: the commit or tag on the hub; without it, what the hub gives may change.
      columns: those to read; empty for all.

    Raises:
      UserError: a part of a split that is no slice.
    """
    places = dict(splits) if isinstance(splits, Mapping) else {split: split for split in splits or ()}
    for place in places.values():
        own, bracket, inner = place.partition("[")
        parse_slice(bracket + inner or "[:]")
    files = {
        split: (patterns,) if isinstance(patterns, str) else tuple(map(str, patterns))
        for split, patterns in (data_files or {}).items()
    }
    return HuggingFaceSource(
        os.fspath(path), name, tuple(places.items()), tuple(files.items()), revision, tuple(columns)
    )
