"""Gin statements with the place each was written at, the files they are found in, and how their faults are told."""

import importlib.resources
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flan_jax.config.macros import MACROS
from flan_jax.errors import UserError, nearest

CONFIG_FOLDERS = {"gin file": ("", "runs", "models", "mixtures"), "model": ("models",)}
UNDER_FILES, FILES, GIN_FLAGS, PLAIN_FLAGS = range(4)  # ranks of a statement


@dataclass(frozen=True)
class Reference:
    """`@name` or `@name()` in a gin file, or `%name` where `macro` is true, before it is looked up."""

    name: str
    evaluate: bool = False
    macro: bool = False

    def __repr__(self) -> str:
        return f"%{self.name}" if self.macro else f"@{self.name}{'()' if self.evaluate else ''}"


@dataclass(frozen=True)
class Binding:
    """One `selector.parameter = value`, or `NAME = value` where `parameter` is empty.

    Attributes:
      selector: the configurable's name, or the macro's.
      parameter: the parameter's name.
      value: a Python value that may hold `Reference`s.
      scope: what stands before a "/".
      place: file and line, for errors.
      rank: where it comes from; the higher wins.
    """

    selector: str
    parameter: str
    value: Any
    scope: str
    place: str
    rank: int

    @property
    def name(self) -> str:
        """The left side of the statement."""
        return "/".join(filter(None, [self.scope, ".".join(filter(None, [self.selector, self.parameter]))]))


@dataclass(frozen=True)
class Import:
    """An import line: the name it binds, the module, and the line."""

    bound: str
    module: str
    line: str
    place: str


@dataclass
class Statements:
    """What was read from files and flags, in order, and the faults on the way."""

    bindings: list[Binding] = field(default_factory=list)
    imports: list[Import] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)

    def final(self) -> dict[str, Binding]:
        """The binding that holds for each name: the highest rank, then the last."""
        chosen: dict[str, Binding] = {}
        for binding in self.bindings:
            if binding.name not in chosen or binding.rank >= chosen[binding.name].rank:
                chosen[binding.name] = binding
        return chosen

    def places(self) -> dict[str, str]:
        """Where each name that holds was set."""
        return {name: binding.place for name, binding in self.final().items()}


def config_folder() -> Path:
    """The folder of the packaged gin files."""
    return Path(str(importlib.resources.files("flan_jax.gin_configs")))


def find_gin_file(name: str, beside: Path | None = None, kind: str = "gin file") -> Path:
    """Finds a gin file.

    Args:
      name: a path, or a file's name with or without ".gin".
      beside: a folder that is looked in first: that of the file which includes `name`.
      kind: "gin file", or "model" to look among the packaged models only, besides the caller's own files.

    Returns:
      The first of: beside the including file, beside the caller, in gin_configs/ and its runs/, models/ and mixtures/.

    Raises:
      UserError: it is in none of them; names the nearest that are.

    >>> find_gin_file("quickstart").name
    'quickstart.gin'
    """
    packaged = [config_folder() / folder for folder in CONFIG_FOLDERS[kind]]
    folders = [*([beside] if beside else []), Path(), *packaged]
    for folder in folders:
        for spelling in (name, f"{name}.gin"):
            if (folder / spelling).is_file():
                return folder / spelling
    known = sorted({path.stem for folder in folders for path in folder.glob("*.gin")})
    close = nearest(Path(name).name.removesuffix(".gin"), known)
    raise UserError(f"no {kind} {name!r} beside you, in gin_configs/ or as a path{close}")


def syntax_fault(error: SyntaxError, text: str, place: str) -> str:
    """Tells what cannot be read as gin, where it stands, and what to type instead.

    Args:
      error: as gin raised it.
      text: the whole text.
      place: the file's name, or the flag.
    """
    line = getattr(error, "lineno", None)
    location = error.args[1] if len(error.args) > 1 else None
    if location is not None:
        line = location[1]
    lines = text.splitlines()
    seen = lines[line - 1].strip() if line and line <= len(lines) else text.strip()
    told = str(error.args[0]).split("\n")[0].rstrip(".")
    if "malformed node" in told or "invalid syntax" in told:
        name, _, value = seen.partition("=")
        word = value.strip().strip("'\"")
        told = f'{value.strip()!r} is not a gin value: a word needs quotes, as in {name.strip()} = "{word}"'
        if place.startswith("--gin."):
            told = f"{value.strip()!r} is not a gin value: a word needs quotes, type --gin.{name.strip()}='\"{word}\"'"
            told += f", or the plain flag --{name.strip().lower()} {word}" if name.strip() in MACROS else ""
        return f"{place if place.startswith('--gin.') else f'{place}:{line}'}: {told}"
    where = place if place.startswith("--gin.") else f"{place}:{line}"
    return f"{where}: cannot read {seen!r} ({told})"


def references(value: Any) -> Iterator[Reference]:
    """All references within a value."""
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, dict):
        for item in [*value.keys(), *value.values()]:
            yield from references(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from references(item)
