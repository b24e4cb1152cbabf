"""Hashes of what shapes a task's tokens: declarations, functions with all they refer to, and the files' state.

Nothing is printed or pickled to be hashed: a `repr` may read the network (TFDS) or load a model (SentencePiece).
"""

import ast
import dataclasses
import enum
import functools
import hashlib
import importlib.metadata
import inspect
import pathlib
import re
import sys
import types
from collections.abc import Mapping
from typing import Any

import seqio
import tensorflow as tf

from flan_jax.files import filesystem
from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary

_SIMPLE = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))
# Objects of these hold caches and locks, so they count by name and version wherever the packages lie.
_LIBRARIES = {"tensorflow", "tensorflow_datasets", "tensorflow_text", "numpy", "jax", "absl", "clu", "sentencepiece"}


def of(thing: Any) -> str:
    """A hash of a value and of all it refers to, the same in every process on every host.

    Functions count by their code, constants, defaults, closures and the globals of their own package that they use; so
    a helper or a word list that changes changes the hash, and moving or commenting a function does not. What they use
    of installed packages counts by its name and the package's version.

    >>> of((1, "a")) == of((1, "a")), of(1) == of("1")
    (True, False)
    """
    return _Walk().digest(thing).hex()[:32]


def of_vocabulary(vocabulary: seqio.Vocabulary) -> str:
    """A hash of what turns text into ids, see `vocabularies.content_digest`; its model is loaded already."""
    if isinstance(vocabulary, TokenizerJsonVocabulary):
        return vocabulary.tokenizer.fingerprint
    named = type(vocabulary).__name__.encode()
    is_model = isinstance(vocabulary, seqio.SentencePieceVocabulary)
    content = vocabulary.sp_model if is_model else of(vars(vocabulary)).encode()
    return hashlib.sha256(named + content).hexdigest()[:32]


def stamp(path: str) -> tuple[str, int, str, str]:
    """A file's name with its `filesystem.state`; one that is moved whole keeps its stamp."""
    return (path.rpartition("/")[2], *filesystem.state(path))


class _Walk:
    """Hashes things by what they are made of; shared parts are hashed once, cycles end at the first repeated part."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, bytes]] = {}  # holds the things too, so that no id is used twice
        self._open: list[int] = []

    def digest(self, thing: Any) -> bytes:
        kind = type(thing).__name__.encode()
        if isinstance(thing, _SIMPLE):
            text = thing if isinstance(thing, bytes) else repr(thing).encode(errors="surrogatepass")
            return hashlib.sha256(kind + b":" + text).digest()
        if id(thing) in self._done:
            return self._done[id(thing)][1]
        if id(thing) in self._open:
            return hashlib.sha256(b"cycle:%d" % (len(self._open) - self._open.index(id(thing)))).digest()
        self._open.append(id(thing))
        parts = _parts(thing)
        inner = [self.digest(part) for part in parts]
        if isinstance(thing, set | frozenset | Mapping):
            inner.sort()
        digest = hashlib.sha256(b"".join([kind, b"(", *inner, b")"])).digest()
        self._open.pop()
        self._done[id(thing)] = (thing, digest)
        return digest


def _parts(thing: Any) -> list[Any]:
    """What a value is made of, in a fixed order (mappings and sets are sorted by who asks)."""
    if isinstance(thing, enum.Enum):
        return [thing.name]
    if isinstance(thing, seqio.Vocabulary):
        return [of_vocabulary(thing)]
    if isinstance(thing, pathlib.PurePath):
        return [str(thing)]
    if isinstance(thing, re.Pattern):
        return [thing.pattern, thing.flags]
    if isinstance(thing, type):
        return _class_parts(thing)
    if dataclasses.is_dataclass(thing):
        shaping = [field.name for field in dataclasses.fields(thing) if field.metadata.get("shapes", True)]
        return [type(thing), *((name, getattr(thing, name)) for name in shaping)]
    if isinstance(thing, Mapping):
        return list(thing.items())
    if isinstance(thing, list | tuple | set | frozenset | range):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, types.FunctionType):
        return _function_parts(thing)
    if isinstance(thing, types.CodeType):
        return _code_parts(thing)
    if isinstance(thing, types.CellType):
        return [thing.cell_contents] if _is_filled(thing) else []
    if isinstance(thing, types.ModuleType):
        return _named(thing.__name__)
    if hasattr(thing, "tobytes") and hasattr(thing, "dtype"):
        # The bytes of an array of objects are their addresses.
        content = thing.tolist() if thing.dtype.hasobject else thing.tobytes()
        return [str(thing.dtype), str(getattr(thing, "shape", "")), content]
    return _tensor_parts(thing) or _object_parts(thing)


def _tensor_parts(thing: Any) -> list[Any]:
    """The values of what TensorFlow holds: tensors, variables, lookup tables."""
    if isinstance(thing, tf.RaggedTensor):
        return [str(thing.dtype), thing.to_list()]
    if isinstance(thing, tf.Variable) or (tf.is_tensor(thing) and hasattr(thing, "numpy")):
        return [str(thing.dtype), str(thing.shape), thing.numpy()]
    if isinstance(thing, tf.lookup.StaticHashTable):
        keys, values = (column.numpy().tolist() for column in thing.export())
        return [thing.default_value, dict(zip(keys, values, strict=True))]
    return []


def _object_parts(thing: Any) -> list[Any]:
    if callable(thing) and hasattr(thing, "__wrapped__"):  # functools.cache
        return [thing.__wrapped__]
    if isinstance(thing, types.BuiltinFunctionType | types.MethodDescriptorType | types.WrapperDescriptorType):
        owner = getattr(thing, "__self__", None)
        return [thing.__qualname__, *([] if isinstance(owner, types.ModuleType | type(None)) else [owner])]
    if _is_library(type(thing).__module__):
        return _named(type(thing).__module__, type(thing).__qualname__)
    slots = [name for cls in type(thing).__mro__ for name in _slots(cls) if hasattr(thing, name)]
    return [type(thing), dict(getattr(thing, "__dict__", {})), [(name, getattr(thing, name)) for name in slots]]


def _slots(cls: type) -> list[str]:
    names = vars(cls).get("__slots__", ())
    return [name for name in ([names] if isinstance(names, str) else names) if name not in ("__dict__", "__weakref__")]


def _class_parts(cls: type) -> list[Any]:
    """A class's name and, for a user's class, its members and bases; the classes of this room count by name."""
    name = _named(cls.__module__, cls.__qualname__)
    if _is_library(cls.__module__) or cls.__module__.startswith(("flan_jax.tasks.", "flan_jax.text.", "seqio.")):
        return name
    members = []
    for key, value in sorted(vars(cls).items()):
        if key.startswith("__") and key not in ("__call__", "__init__", "__post_init__") or key == "_abc_impl":
            continue
        value = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if not isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
            members.append((key, value))
    return [*name, *members, *(base for base in cls.__bases__ if base is not object)]


def _function_parts(function: types.FunctionType) -> list[Any]:
    code = function.__code__
    if _is_library(function.__module__):
        return [*_named(function.__module__, function.__qualname__), list(function.__closure__ or ())]
    parts: list[Any] = [code, function.__defaults__, function.__kwdefaults__, list(function.__closure__ or ())]
    for name in sorted(_names(code)):
        if name in function.__globals__:
            parts.append((name, _global(function.__globals__[name], _package(function.__module__))))
    return parts


def _global(value: Any, package: str) -> Any:
    """What a global counts as: code of installed packages by its name, other modules by their source."""
    owner = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    if isinstance(value, types.ModuleType):
        # What is used of it is not known from here.
        return _sources(value.__name__, package) if _counts(owner, package) else _named(value.__name__)
    if isinstance(value, types.FunctionType | type) and not _counts(owner, package):
        return _named(owner or "", value.__qualname__)
    return value


def _code_parts(code: types.CodeType) -> list[Any]:
    consts = list(code.co_consts)
    # The first constant of a `def` is its docstring or None; neither changes what it does.
    if consts and code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<"):
        consts = consts[1:] if isinstance(consts[0], str | None) else consts
    return [code.co_code, code.co_exceptiontable, consts, code.co_names, code.co_varnames, code.co_freevars]


def _names(code: types.CodeType) -> set[str]:
    nested = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*(_names(one) for one in nested))


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return False
    return True


def _package(module: str | None) -> str:
    return (module or "").partition(".")[0]


def _counts(module: str | None, package: str) -> bool:
    """Whether a change of the module is looked for: it is of the same package, or no package that was installed."""
    if _package(module) == package:
        return True
    file = getattr(sys.modules.get(module or ""), "__file__", None) or "site-packages"
    return not _is_library(module) and not {"site-packages", "dist-packages"} & set(pathlib.Path(file).parts)


def _is_library(module: str | None) -> bool:
    return _package(module) in _LIBRARIES or _package(module) in sys.stdlib_module_names - {"__main__"}


def _named(module: str, qualname: str = "") -> list[str]:
    """What counts by its name: with the version of the package it is of, which tells when its code may be another."""
    return [module, qualname, _version(_package(module))]


@functools.cache
def _version(package: str) -> str:
    """An installed package's version; empty for the standard library, this one, sentencepiece, and a user's modules."""
    # This package's own code is versioned by hand (`examples.CODE_VERSION`). Vocabularies count by their content, and
    # the environment of Beam has another sentencepiece, whose stores have to be found here.
    if package in ("flan_jax", "sentencepiece") or package in sys.stdlib_module_names:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        named = importlib.metadata.packages_distributions().get(package, ())
        return ",".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(named)))


def _sources(name: str, package: str) -> list[tuple[str, str]]:
    """Names and code hashes of a module and of those of the same code that it imports, and those in turn.

    Packages that they import count by their version.
    """
    found: dict[str, str] = {}
    waiting = [name]
    while waiting:
        current = waiting.pop()
        module = sys.modules.get(current)
        if current in found or module is None or current.startswith(("flan_jax.tasks", "flan_jax.text")):
            continue
        if not _counts(current, package):
            found[_package(current)] = _version(_package(current))
            continue
        file = pathlib.Path(getattr(module, "__file__", None) or "")
        source = file.read_bytes() if file.is_file() else b""
        if file.suffix == ".py":
            tree = ast.parse(source)
            waiting += _imported(tree, current)
            source = _without_comments(tree)
        found[current] = hashlib.sha256(source).hexdigest()
    return sorted(found.items())


def _without_comments(tree: ast.Module) -> bytes:
    """A module's code as text that comments, blank lines and docstrings do not change; takes these off the tree."""
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:  # type: ignore[arg-type]
            node.body[:] = node.body[1:] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree).encode(errors="surrogatepass")


def _imported(tree: ast.Module, importer: str) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = importer.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return names
