"""Which reader opens a file of rows: its name tells text and columns, its first bytes the kinds of JSON."""

import itertools
import re
import zipfile
import zlib
from typing import Any

from flan_jax.errors import UserError, counted
from flan_jax.files import filesystem
from flan_jax.files.row_files import SUFFIXES, open_rows
from flan_jax.tasks import sources
from flan_jax.tasks.sources import FileSource, json_stream, task_files

_HELD_OUT = 50
_NAME = re.compile(r"(?=.{1,40}$)[\w./#()-]*[\w)](?: [\w./#()-]*[\w)]){0,2}")  # of a column; no sentence


def is_text(path: str) -> bool:
    """Whether a path or pattern is of files of text."""
    return _kind(path) == "txt"


def source_of(path: str, validation_rows: int | None, on_bad_row: str | None, unit: str = "paragraph") -> FileSource:
    """The source of a file, or of a pattern of files of one format; see `files.task_from_file`.

    Args:
      path: the file or pattern.
      validation_rows: how many of the first rows become the validation split; None: a tenth of them, at most 50.
      on_bad_row: "error" or "skip"; None leaves it to who reads.
      unit: what is a row of a file of text: a "paragraph", a "line", or the "file".

    Raises:
      UserError: there is no such file, it is of no format known here, or no rows are left to train on.
    """
    whole = _source(path, 0, "skip", unit)
    if validation_rows is None:
        validation_rows = _a_tenth(whole)
        if not validation_rows and next(whole.rows(whole.splits[0], "skip"), None) is not None:
            raise UserError(
                f"{path} has one row, which cannot be trained on and held out at once; --held_out 0 trains on it."
            )
    elif validation_rows and (rows := at_most(whole, validation_rows + 1)) <= validation_rows:
        raise UserError(
            f"{path} has {counted(rows, 'row')}; --held_out {validation_rows} leaves none to train on. Hold out fewer."
        )
    return _source(path, validation_rows, on_bad_row, unit)


def _a_tenth(source: FileSource) -> int:
    """A tenth of a source's rows, at least 1 of 2 and at most `_HELD_OUT`; no more of it is read than that takes."""
    rows = at_most(source, 10 * _HELD_OUT)
    return min(max(rows // 10, 1), rows - 1) if rows else 0


def at_most(source: FileSource, most: int) -> int:
    """How many rows that can be read a source has, counted up to `most`."""
    return sum(1 for _ in itertools.islice(source.rows(source.splits[0], "skip"), most))


def _source(path: str, validation_rows: int, on_bad_row: str | None, unit: str) -> FileSource:
    how: Any = {"validation_rows": validation_rows, "on_bad_row": on_bad_row}
    found = filesystem.matching(path)
    if not found:
        raise UserError(
            f"There is no file {path!r}; give a JSONL, JSON, CSV, TSV or Parquet file of examples, or text (.txt)."
        )
    kind = _kind(found[0])
    if kind == "tsv" and _is_headless(found[0]):
        return sources.csv(path, delimiter="\t", columns=("question", "answer", "rationale"), quoted=False, **how)
    if kind in ("csv", "tsv"):
        return sources.csv(path, delimiter="\t" if kind == "tsv" else ",", **how)
    if kind == "parquet":
        return sources.parquet(path, validation_rows=validation_rows)
    start = _start_of(found[0])
    if kind == "txt":
        return sources.text(path, unit=unit, validation_rows=validation_rows)
    if start == b"{" and task_files.is_task_file(found[0]):
        return sources.task_file(path, **how)
    if start == b"[" or (start == b"{" and _is_object_of_rows(found[0])):
        return sources.json_array(path, **how)
    if start == b"{" or not start:
        return sources.jsonl(path, **how)
    raise UserError(
        f"{path} starts with {start!r}, so it is neither JSONL nor a JSON array; or name it .csv, .tsv, .parquet "
        "or .txt."
    )


def _kind(path: str) -> str:
    """What a file's name ends in, but for how it is packed."""
    name = path.lower()
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name.rpartition(".")[2]


def _is_headless(path: str) -> bool:
    """Whether a TSV file begins with a question, an answer and a rationale, and not with the names of its columns."""
    cells = _start(path, 1 << 16).partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r").split("\t")
    return len(cells) == 3 and not any(_NAME.fullmatch(cell.strip()) for cell in (cells[0], cells[2]))


def _start_of(path: str) -> bytes:
    """The first byte of a file that is neither a mark of UTF-8 nor blank."""
    return _start(path, 4096).lstrip()[:1]


def _start(path: str, size: int) -> bytes:
    """The first bytes of a file, without a mark of UTF-8.

    Raises:
      UserError: it cannot be read or unpacked.
    """
    try:
        with open_rows(path) as file:
            return file.read(size).removeprefix(b"\xef\xbb\xbf")
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnicodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); it is damaged, or not packed as its name says.") from None


def _is_object_of_rows(path: str) -> bool:
    """Whether a file is one object whose values are rows, as Topical-Chat's dialogues by their names.

    The first two values tell: they are objects that have a key in common. What is in a single line is such a file only
    where no other line follows it.
    """
    with open_rows(path) as file:
        try:
            first = list(itertools.islice(json_stream.items(file, path), 2))
        except (UserError, OSError, EOFError, zlib.error):
            return False
    if not first or not all(isinstance(value, dict) for value in first) or not set.intersection(*map(set, first)):
        return False
    with open_rows(path) as file:
        line = file.readline(json_stream.LARGEST_ITEM)
        return not line.rstrip().endswith(b"}") or not any(other.strip() for other in itertools.islice(file, 3))
