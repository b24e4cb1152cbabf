"""Where a task's rows come from: files, Python generators, or any seqio data source.

Sources are frozen dataclasses that only name what they read. A row is a dict of named fields, and its id is made of its
file and its number there, since ids inside data sets repeat.
"""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import seqio
import tensorflow_datasets as tfds

from flan_jax.errors import UserError, nearest
from flan_jax.tasks import files
from flan_jax.tasks.tally import BadRow, Tally, bad_row

Row = dict[str, Any]


@runtime_checkable
class Source(Protocol):
    """What a task needs of its source."""

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        ...

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in a fixed order.

        Args:
          split: one of `splits`.
          on_bad_row: "error" raises at a row that cannot be used, "skip" leaves it out.
          tally: counts the rows left out.
          start: the first row's number in the split, bad rows counted; those before it are passed over unparsed.
          stop: the number before which to stop; None for the split's end.
        """
        ...

    def files(self, split: str) -> list[str]:
        """The files that `split` is read from."""
        ...

    def where(self, split: str, row_id: str) -> str:
        """The place of a row, in words a user can follow."""
        ...

    def num_rows(self, split: str) -> int | None:
        """How many rows `split` has, or None where that is not known cheaply."""
        ...


@dataclasses.dataclass(frozen=True)
class FileSource:
    """Rows of files; made by `jsonl`, `csv`, `json_array` and `text`.

    Attributes:
      patterns: (split, pattern) pairs; a pattern is a path, perhaps with `*`, `?` and `**`.
      reader: turns one file into numbered rows.
      slices: (split, slice) pairs such as ("validation", "[:200]") over the rows of all files; a split without one has
        all of them.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
    """

    patterns: tuple[tuple[str, str], ...]
    reader: files.Reader
    slices: tuple[tuple[str, str], ...] = ()
    on_bad_row: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        return tuple(split for split, _ in self.patterns)

    def files(self, split: str) -> list[str]:
        """The files of a split, sorted.

        Raises:
          UserError: no file matches the split's pattern, or the split is not declared.
        """
        _check_split(
            split, self.splits, 'name it in `splits`, for example splits={"train": "[200:]", "validation": "[:200]"}'
        )
        pattern = dict(self.patterns)[split]
        found = files.matching(pattern)
        if not found:
            raise UserError(
                f"No file matches {pattern!r}, the {split} split's pattern; give a path or pattern that exists."
            )
        return found

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the order of the files, then of their rows; see `Source`."""
        policy = self.on_bad_row or on_bad_row
        for key, path, number, unit in self._units(split, start, stop):
            row = self.reader.parse(unit)
            if isinstance(row, BadRow):
                bad_row(functools.partial(self.reader.place, path, number), row, policy, tally)
            else:
                yield f"{key}:{number}", row

    def _units(self, split: str, start: int, stop: int | None) -> Iterator[tuple[str, str, int, Any]]:
        paths = self.files(split)
        numbered = (
            (key, path, *item)
            for key, path in zip(files.keys(paths), paths, strict=True)
            for item in files.units(self.reader, path)
        )
        first, last = _parse_slice(dict(self.slices).get(split, "[:]"))
        if (first or 0) < 0 or (last is not None and last < 0):
            first, last, _ = slice(first, last).indices(self._count(paths))
        rows = itertools.islice(numbered, first, last)
        return itertools.islice(rows, start, stop)

    def _count(self, paths: list[str]) -> int:
        return sum(files.count_rows(self.reader, path, files.stamp(path)) for path in paths)

    def where(self, split: str, row_id: str) -> str:
        """The file and line of a row."""
        key, _, number = row_id.rpartition(":")
        paths = self.files(split)
        return self.reader.place(dict(zip(files.keys(paths), paths, strict=True)).get(key, key), int(number))

    def num_rows(self, split: str) -> int | None:
        """Counts the rows of small local files; None for large or remote ones."""
        paths = self.files(split)
        if files.size_of(paths) > files.CHEAP_BYTES:
            return None
        start, stop = _parse_slice(dict(self.slices).get(split, "[:]"))
        return len(range(*slice(start, stop).indices(self._count(paths))))


@dataclasses.dataclass(frozen=True)
class GeneratorSource:
    """Rows that a Python function makes; see `generator`."""

    function: Callable[[str], Iterable[Row]]
    split_names: tuple[str, ...]
    counts: tuple[tuple[str, int], ...] = ()

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        return self.split_names

    def files(self, split: str) -> list[str]:
        """None: the rows come from no file."""
        return []

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the function's order."""
        _check_split(split, self.splits, "give generator(..., splits=(...)) the names of all its splits")
        numbered = enumerate(self.function(split))
        for number, row in itertools.islice(numbered, start, stop):
            if isinstance(row, Mapping):
                yield f"{split}:{number}", plain(row)
            else:
                place = functools.partial(self.where, split, f"{split}:{number}")
                bad_row(place, f"a {type(row).__name__}, not a dict", on_bad_row, tally)

    def where(self, split: str, row_id: str) -> str:
        """The function's name and the row's number."""
        name = getattr(self.function, "__qualname__", type(self.function).__name__)
        return f"row {row_id.rpartition(':')[2]} of {name}({split!r})"

    def num_rows(self, split: str) -> int | None:
        """The declared number of rows."""
        return dict(self.counts).get(split)


@dataclasses.dataclass(frozen=True)
class SeqioSource:
    """Rows of a seqio data source, its tensors turned into text and lists; bytes are read as UTF-8."""

    source: seqio.DataSource

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        return tuple(self.source.splits)

    @property
    def file_splits(self) -> tuple[str, ...]:
        """The splits that are read from files that can be named."""
        return tuple(getattr(self.source, "_split_to_filepattern", {}))

    def files(self, split: str) -> list[str]:
        """The files, where the source is one of seqio's that read files."""
        pattern = getattr(self.source, "_split_to_filepattern", {}).get(split)
        patterns = [pattern] if isinstance(pattern, str) else list(pattern or [])
        return sorted(path for one in patterns for path in files.matching(one))

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the source's order, unshuffled."""
        _check_split(split, self.splits, "ask for one of these")
        dataset = self.source.get_dataset(split=split, shuffle=False).skip(start)
        if stop is not None:
            dataset = dataset.take(max(stop - start, 0))
        for number, row in enumerate(tfds.as_numpy(dataset), start):
            row = plain(row)
            yield f"{split}:{number}", row if isinstance(row, dict) else {"text": row}

    def where(self, split: str, row_id: str) -> str:
        """The source's class and the row's number."""
        return f"row {row_id.rpartition(':')[2]} of {type(self.source).__name__} {split!r}"

    def num_rows(self, split: str) -> int | None:
        """What the source says."""
        return self.source.num_input_examples(split)


def as_source(source: Source | seqio.DataSource) -> Source:
    """Wraps a seqio data source; gives any other back as it is."""
    if isinstance(source, seqio.DataSource):
        return SeqioSource(source)
    return source


def all_files(source: Source) -> list[str]:
    """The files of all splits of a source that can be found; empty where they are not known."""
    # A TFDS source would have to read its builder to tell its splits, and has no file patterns.
    splits = source.file_splits if isinstance(source, SeqioSource) else source.splits
    found = set()
    for split in splits:
        with contextlib.suppress(UserError):  # whoever reads that split is told
            found.update(source.files(split))
    return sorted(found)


def plain(value: Any) -> Any:
    """Turns NumPy values, bytes and tuples into what JSON knows, so that a row reads the same by every way.

    >>> plain({"text": b"caf\\xc3\\xa9", "labels": ("a", "b")})
    {'text': 'café', 'labels': ['a', 'b']}
    """
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if hasattr(value, "to_list"):  # ragged tensors
        return plain(value.to_list())
    return value


def generator(
    function: Callable[[str], Iterable[Row]],
    splits: Iterable[str] = ("train", "validation"),
    num_rows: Mapping[str, int] | None = None,
) -> GeneratorSource:
    """Rows made by `function(split)`, which must yield the same dicts in the same order every time.

    Args:
      function: takes the split's name, yields dicts.
      splits: the names it takes.
      num_rows: how many rows each split has, where that is known.

    >>> source = generator(lambda split: iter([{"text": "one"}, {"text": "two"}]))
    >>> list(source.rows("train"))
    [('train:0', {'text': 'one'}), ('train:1', {'text': 'two'})]
    """
    return GeneratorSource(function, tuple(splits), tuple(sorted((num_rows or {}).items())))


def jsonl(
    pattern: files.Pattern,
    *,
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """One JSON object a line.

    Args:
      pattern: a path or pattern, or a mapping of splits to them.
      splits: slices of the rows by split, for example {"train": "[200:]", "validation": "[:200]"}; only for a single
        pattern.
      validation_rows: the first so many rows become the validation split, the others train; short for `splits`.
      on_bad_row: "error" or "skip" for lines that are no JSON object; None leaves it to who reads.
    """
    return _file_source(files.JsonLines(), pattern, splits, validation_rows, on_bad_row)


def csv(
    pattern: files.Pattern,
    *,
    delimiter: str = ",",
    columns: Iterable[str] = (),
    quoted: bool = True,
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    r"""Rows of delimited columns.

    Args:
      pattern: as in `jsonl`.
      delimiter: one character; "\t" for TSV.
      columns: the names of the columns; empty when the first row names them.
      quoted: False where a double quote is a character like any other.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
      on_bad_row: as in `jsonl`, for rows with too few or too many columns.
    """
    return _file_source(files.Csv(delimiter, tuple(columns), quoted), pattern, splits, validation_rows, on_bad_row)


def json_array(
    pattern: files.Pattern,
    *,
    at: str = "",
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
    on_bad_row: str | None = None,
) -> FileSource:
    """Files that are one JSON array of objects.

    Args:
      pattern: as in `jsonl`.
      at: the key that holds the array (or an object whose values are the rows), where the file is an object.
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
      on_bad_row: as in `jsonl`, for items that are no object.
    """
    return _file_source(files.JsonArray(at), pattern, splits, validation_rows, on_bad_row)


def text(
    pattern: files.Pattern,
    *,
    unit: str = "paragraph",
    splits: Mapping[str, str] | None = None,
    validation_rows: int = 0,
) -> FileSource:
    """Plain text as rows {"text": ...}.

    Args:
      pattern: as in `jsonl`.
      unit: "paragraph" (parted by blank lines), "line" or "file".
      splits: as in `jsonl`.
      validation_rows: as in `jsonl`.
    """
    if unit not in files.TEXT_UNITS:
        raise UserError(
            f"text(unit={unit!r}): unit is one of {', '.join(files.TEXT_UNITS)}{nearest(unit, files.TEXT_UNITS)}."
        )
    return _file_source(files.PlainText(unit), pattern, splits, validation_rows, None)


def _file_source(reader, pattern, splits, validation_rows, on_bad_row) -> FileSource:
    if on_bad_row not in (None, "error", "skip"):
        raise UserError(f'on_bad_row={on_bad_row!r}: it is "error" or "skip".')
    if isinstance(pattern, Mapping):
        if splits or validation_rows:
            raise UserError("Give files by split or slices of rows by split (splits=, validation_rows=), not both.")
        return FileSource(tuple((split, str(one)) for split, one in pattern.items()), reader, (), on_bad_row)
    if validation_rows and splits:
        raise UserError("Give splits= or validation_rows=, not both.")
    if validation_rows:
        splits = {"train": f"[{validation_rows}:]", "validation": f"[:{validation_rows}]"}
    slices = dict(splits or {"train": "[:]"})
    for text_slice in slices.values():
        _parse_slice(text_slice)
    return FileSource(tuple((split, str(pattern)) for split in slices), reader, tuple(slices.items()), on_bad_row)


@functools.cache
def _parse_slice(text_slice: str) -> tuple[int | None, int | None]:
    start, colon, stop = text_slice.strip().removeprefix("[").removesuffix("]").partition(":")
    try:
        if not colon:
            raise ValueError
        return (int(start) if start.strip() else None, int(stop) if stop.strip() else None)
    except ValueError:
        raise UserError(f"A split's slice of rows looks like '[200:]' or '[:-200]', not {text_slice!r}.") from None


def _check_split(split: str, known: tuple[str, ...], remedy: str) -> None:
    if split not in known:
        raise UserError(f"There is no split {split!r} (there is {', '.join(known)}){nearest(split, known)}; {remedy}.")
