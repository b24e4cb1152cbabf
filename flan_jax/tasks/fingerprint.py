"""Hashes of what shapes a task's tokens: declarations, functions with all they refer to, and the files' state.

Nothing is printed or pickled to be hashed: a `repr` may read the network (TFDS) or load a model (SentencePiece).
"""

import dataclasses
import enum
import functools
import hashlib
import inspect
import pathlib
import types
from collections.abc import Mapping
from typing import Any

import seqio

_DEEP = 24
_SIMPLE = (str, bytes, int, float, complex, bool, type(None), type(Ellipsis))


def of(thing: Any) -> str:
    """A hash of a value and of all it refers to, the same in every process on every host.

    Functions count by their code, constants, defaults, closures and the globals of their own package that they use; so a helper or a
    word list that changes changes the hash, and moving or commenting a function does not.

    >>> of((1, "a")) == of((1, "a")), of(1) == of("1")
    (True, False)
    """
    digest = hashlib.sha256()
    _walk(thing, digest, {}, 0)
    return digest.hexdigest()[:32]


def _walk(thing: Any, digest: Any, seen: dict[int, int], depth: int) -> None:
    kind = type(thing).__name__
    if isinstance(thing, _SIMPLE):
        text = thing if isinstance(thing, bytes) else repr(thing).encode(errors="surrogatepass")
        digest.update(f"{kind}:{len(text)}:".encode() + text)
        return
    if id(thing) in seen or depth > _DEEP:
        digest.update(f"again:{seen.get(id(thing), -1)}".encode())
        return
    seen[id(thing)] = len(seen)
    digest.update(f"({kind}".encode())
    for part in _parts(thing):
        _walk(part, digest, seen, depth + 1)
    digest.update(b")")


def _parts(thing: Any) -> list[Any]:
    """What a value is made of, in a fixed order."""
    if isinstance(thing, enum.Enum):
        return [thing.name]
    if isinstance(thing, seqio.Vocabulary):
        from flan_jax.tasks import vocabularies  # which uses this module for vocabularies without a file

        return [vocabularies.content_digest(thing)]
    if isinstance(thing, pathlib.PurePath):
        return [str(thing)]
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return [(field.name, getattr(thing, field.name)) for field in dataclasses.fields(thing)]
    if isinstance(thing, Mapping):
        return sorted(([of(key), of(value)] for key, value in thing.items()), key=lambda pair: pair[0])
    if isinstance(thing, set | frozenset):
        return sorted(of(item) for item in thing)
    if isinstance(thing, list | tuple):
        return list(thing)
    if isinstance(thing, functools.partial):
        return [thing.func, thing.args, thing.keywords]
    if isinstance(thing, types.MethodType):
        return [thing.__func__, thing.__self__]
    if isinstance(thing, types.FunctionType):
        return _function_parts(inspect.unwrap(thing))
    if isinstance(thing, types.CodeType):
        return _code_parts(thing)
    if isinstance(thing, types.CellType):
        return [thing.cell_contents] if _is_filled(thing) else []
    if isinstance(thing, types.ModuleType):
        return [thing.__name__]
    if isinstance(thing, type):
        members = [(name, value) for name, value in vars(thing).items() if isinstance(value, types.FunctionType)]
        return [thing.__module__, thing.__qualname__, *(members if _is_users(thing.__module__) else [])]
    if hasattr(thing, "tobytes") and hasattr(thing, "dtype"):
        return [str(thing.dtype), str(getattr(thing, "shape", "")), thing.tobytes()]
    if isinstance(thing, types.BuiltinFunctionType):
        return [thing.__module__, thing.__qualname__]
    state = {name: value for name, value in getattr(thing, "__dict__", {}).items() if not _is_scratch(value)}
    return [type(thing), state]


def _function_parts(function: types.FunctionType) -> list[Any]:
    code = function.__code__
    parts: list[Any] = [code, function.__defaults__, function.__kwdefaults__, list(function.__closure__ or ())]
    package = (function.__module__ or "").partition(".")[0]
    if not _is_users(function.__module__):
        return [function.__module__, function.__qualname__, *parts]
    for name in sorted(_names(code)):
        value = function.__globals__.get(name)
        owner = getattr(value, "__module__", None) or getattr(value, "__name__", "")
        if isinstance(value, types.ModuleType):
            # What is used of it is not known from here, so a module of the same package counts as a whole.
            parts.append([name, _source_of(value) if owner.partition(".")[0] == package else value.__name__])
        elif isinstance(value, types.FunctionType | type):
            parts.append([name, value if owner.partition(".")[0] == package else f"{owner}.{value.__qualname__}"])
        elif value is not None:
            parts.append([name, value])
    return parts


def _code_parts(code: types.CodeType) -> list[Any]:
    # A string that stands first may be the docstring, which changes nothing.
    consts = [
        const
        for number, const in enumerate(code.co_consts)
        if not (number == 0 and isinstance(const, str) and _has_docstring(code))
    ]
    return [code.co_code, consts, code.co_names, code.co_varnames, code.co_freevars]


def _has_docstring(code: types.CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_NEWLOCALS) and code.co_name != "<lambda>"


def _names(code: types.CodeType) -> set[str]:
    nested = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return set(code.co_names).union(*(_names(one) for one in nested))


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return False
    return True


def _is_users(module: str | None) -> bool:
    """Whether code is of the user or of flan_jax, whose changes count; that of libraries counts by name (the versions are hashed apart)."""
    return (module or "").partition(".")[0] not in {
        "seqio",
        "tensorflow",
        "tensorflow_datasets",
        "numpy",
        "builtins",
        "re",
        "json",
        "functools",
    }


def _is_scratch(value: Any) -> bool:
    """Locks, open files and loaded models change nothing about the tokens."""
    return type(value).__module__ in {"_thread", "_io", "threading", "weakref"}


def _source_of(module: types.ModuleType) -> str:
    file = getattr(module, "__file__", None)
    if not file or not pathlib.Path(file).is_file():
        return module.__name__
    return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest()


def stamp(path: str) -> tuple[str, int, int]:
    """A file's name, size and time of change; a file that is moved whole keeps its stamp."""
    from flan_jax.tasks import files

    return (path.rpartition("/")[2], *files.stamp(path))
