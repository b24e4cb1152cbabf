"""Where a task's rows come from: files, data sets of other libraries, Python generators, or any seqio data source."""

import contextlib
import dataclasses
import importlib
from typing import TYPE_CHECKING, Any

from flan_jax.errors import UserError
from flan_jax.tasks.sources.declared import array_record, csv, json_array, jsonl, parquet, text, tfrecord
from flan_jax.tasks.sources.file_source import FileSource
from flan_jax.tasks.sources.generators import GeneratorSource, generator
from flan_jax.tasks.sources.grouped import Grouped
from flan_jax.tasks.sources.hugging_face import HuggingFaceSource, hugging_face
from flan_jax.tasks.sources.readers import TEXT_UNITS
from flan_jax.tasks.sources.source import Row, Source, plain
from flan_jax.tasks.sources.task_files import task_file

if TYPE_CHECKING:
    from flan_jax.tasks.sources.corpus import Corpus, CorpusSource, Hub, as_source
    from flan_jax.tasks.sources.seqio_source import SeqioSource
    from flan_jax.tasks.sources.tfds_source import TfdsSource, tfds

__all__ = [
    "TEXT_UNITS",
    "Corpus",
    "CorpusSource",
    "FileSource",
    "GeneratorSource",
    "Grouped",
    "Hub",
    "HuggingFaceSource",
    "Row",
    "SeqioSource",
    "Source",
    "TfdsSource",
    "all_files",
    "array_record",
    "as_source",
    "besides_files",
    "csv",
    "generator",
    "hugging_face",
    "json_array",
    "jsonl",
    "parquet",
    "plain",
    "task_file",
    "text",
    "tfds",
    "tfrecord",
]


# Their modules import seqio or TFDS, which reading files does without.
_LATER = {"SeqioSource": "seqio_source", "TfdsSource": "tfds_source", "tfds": "tfds_source"}
_LATER |= dict.fromkeys(("Corpus", "CorpusSource", "Hub", "as_source"), "corpus")


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    return found


def besides_files(source: Source) -> Any:
    """What tells a source's rows apart besides the files they are in; where those lie changes no row."""
    if isinstance(source, FileSource):
        parts = (source.reader, source.slices, [split for split, _ in source.patterns])
        return (*parts, source.drawn) if source.drawn else parts
    if isinstance(source, HuggingFaceSource) and source.file_splits:
        kind = source.path if source.data_files else ""
        files = tuple((split, ()) for split, _ in source.data_files)
        return dataclasses.replace(source, path=kind, data_files=files)
    if isinstance(source, Grouped):
        return (besides_files(source.inner), source.by, source.slices)
    if inner := getattr(source, "inner", None):
        return (besides_files(inner), source.adapt)  # type: ignore[attr-defined]
    return source


def all_files(source: Source) -> list[str]:
    """The files of all splits of a source that can be found; empty where they are not known."""
    # A TFDS source would have to read its builder to tell its splits, and has no file patterns.
    splits = source.file_splits if hasattr(source, "file_splits") else source.splits
    found = set()
    for split in splits:
        with contextlib.suppress(UserError):  # whoever reads that split is told
            found.update(source.files(split))
    return sorted(found)
