"""Gin statements, read and not yet bound: what each says, where it was written, and which of several holds."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from flan_jax.config.macros import MACROS, SECTIONS

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

    @property
    def section(self) -> str:
        """The gin name of the section, where it sets one's: `selector` without the package's name before it."""
        return self.selector.removeprefix("flan_jax.")

    @property
    def setting(self) -> str | None:
        """The setting that it sets, as `Section.name`; None for macros and functions of the user's own."""
        if not self.parameter:
            return MACROS[self.selector].target if self.selector in MACROS else None
        return f"{self.section}.{self.parameter}" if self.section in SECTIONS else None


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

    def as_text(self) -> tuple[str, ...]:
        """The import lines and bindings that were given beside our macros, as gin text.

        What `--data` and `--module` say as well is left out.
        """
        lines = list(dict.fromkeys(line.line for line in self.imports))
        for binding in self.final().values():
            ours = not binding.parameter and binding.selector in MACROS
            if binding.rank != UNDER_FILES and not ours and binding.section != "Run":
                lines.append(f"{binding.name} = {binding.value!r}")
        return tuple(lines)


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
