"""What shapes a task's examples beside its fingerprint, as far as that can be told.

a task of files and templates     this package's code, its libraries, the vocabulary's files, how rows are called
one that runs code of the user's  the files that its functions read (`flan_jax.files.opened`), and what nothing
                                  shows: the environment, the network, C libraries
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Callable
from typing import Any

import seqio

import flan_jax
from flan_jax.errors import UserError
from flan_jax.tasks import fingerprints, registry, vocabularies
from flan_jax.tasks.sources import FileSource, GeneratorSource
from flan_jax.tasks.sources.file_source import keys
from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary
from flan_jax.text.tokenizer_folder import TokenizerFolder

_LIBRARIES = (
    "array-record",
    "jinja2",
    "numpy",
    "pandas",
    "protobuf",
    "pyarrow",
    "sentencepiece",
    "seqio",
    "tokenizers",
)
_VOCABULARIES = (seqio.SentencePieceVocabulary, seqio.ByteVocabulary, TokenizerJsonVocabulary)


def functions(task_name: str) -> list[Callable[..., Any]]:
    """The user's functions that make and change a task's rows; of tasks of other code they are not known."""
    recipe = registry.recipe(task_name)
    found = [] if recipe is None else [getattr(recipe.declaration, "preprocess", None)]
    if recipe is not None and isinstance(recipe.source, GeneratorSource):
        found.append(recipe.source.function)
    return [function for function in found if function is not None]


def rendered_by(task_name: str) -> str | None:
    """A hash of all that shapes a task's examples beside its fingerprint; None where code of the user's runs, or a
    library chooses the rows.
    """
    recipe = registry.recipe(task_name)
    if recipe is None or functions(task_name) or type(recipe.source) is not FileSource:
        return None
    source, vocabulary = recipe.source, vocabularies.load(recipe.vocabulary)
    kinds = {type(part).__module__ for part in (recipe, recipe.declaration, source.reader)}
    decode = getattr(getattr(source.reader, "message", None), "decode", None)
    if decode is not None or type(vocabulary) not in _VOCABULARIES:
        return None
    if not all(kind.startswith("flan_jax.tasks.") for kind in kinds):
        return None
    names = []
    for split in source.splits:
        with contextlib.suppress(UserError):  # whoever reads that split is told
            names.append(keys(source.files(split)))  # rows are called by these, and what is random is drawn by that
    return fingerprints.of((_code(), _settings(vocabularies.named(vocabulary)["path"]), names))


@functools.cache
def _code() -> str:
    """A hash of this package's modules that render, and of the versions of what they render with."""
    package = pathlib.Path(flan_jax.__file__).parent
    found = [platform.python_version()]
    for path in sorted(path for room in ("files", "tasks", "text") for path in (package / room).rglob("*.py")):
        found.append(hashlib.sha256(path.read_bytes()).hexdigest())
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return fingerprints.of(found)


@functools.cache
def _settings(path: str | None) -> list[str]:
    """Hashes of the files of a vocabulary's folder; once a process, which reads them once too."""
    if path is None:
        return []
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in TokenizerFolder(os.path.dirname(path)).files()]
