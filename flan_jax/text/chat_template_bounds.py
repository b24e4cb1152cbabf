"""What a chat template may spend: it comes with weights from anyone, and must end, in little memory, whatever it says.

Jinja's sandbox bounds `range` alone. Here each turn of a loop, call of a macro and written text is charged to a budget
for one rendering, and no single operation makes a gigantic text. The budget is the thread's own, so it holds in any
thread or process, without signals.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jinja2
import jinja2.nodes
import jinja2.sandbox

_UNITS = 500_000  # loop turns, or pieces of `_PIECE` characters: some hundred times what long conversations take
_PIECE = 256
_CALL = 10  # units: a macro's call takes as long as ten turns
_LARGEST = 1 << 26  # characters of one text, items of one list
_NUMBER = 10_000_000  # a width, an indent, a count
_BITS = 1 << 16  # of one number
_SECONDS = 20.0  # of the thread's own computing: what a turn does may be slow
_WIDTH = re.compile(r"\d{7,}|\*")  # in "%9999999d" and "{:9999999}"


class TooMuch(Exception):
    """A template spends more than it may."""


class _Budget(threading.local):
    def __init__(self) -> None:
        self.left, self.until = _UNITS, float("inf")


_budget = _Budget()


@contextmanager
def bounded() -> Iterator[None]:
    """Gives what is rendered inside a budget of its own."""
    _budget.left, _budget.until = _UNITS, time.thread_time() + _SECONDS
    try:
        yield
    finally:
        _budget.left, _budget.until = _UNITS, float("inf")


def _spend(units: int) -> bool:
    _budget.left -= units
    if _budget.left < 0:
        raise TooMuch("it loops without end, or writes without end")
    if time.thread_time() > _budget.until:
        raise TooMuch(f"it computes for more than {_SECONDS:.0f} s")
    return True


def _charge(value: Any) -> Any:
    """Charges a value by its size, lists by all that they hold, and gives it back."""
    if isinstance(value, str | bytes):
        _check_size(len(value))
        _budget.left -= len(value) // _PIECE  # checked by `_spend`, which every value comes to
    elif isinstance(value, list | tuple | dict):
        _spend(1 + len(value) // _PIECE)
        for item in value.values() if isinstance(value, dict) else value:
            if not isinstance(item, str) or len(item) > _PIECE:
                _charge(item)
    _spend(0)
    return value


def _check_size(size: int) -> None:
    if size > _LARGEST:
        raise TooMuch(f"it makes a text or list of {size:,} parts, the most is {_LARGEST:,}")


def _check_call(name: str, subject: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
    """Refuses what would make a gigantic text of small arguments."""
    for argument in (*args, *named.values()):
        if isinstance(argument, int) and abs(argument) > _NUMBER:
            raise TooMuch(f"it asks {name} for {argument:,}")
        _charge(argument)
    if name in ("format", "format_map") and isinstance(subject, str) and _WIDTH.search(subject):
        raise TooMuch("it formats something to a gigantic width")
    if name == "replace" and isinstance(subject, str) and len(args) > 1 and all(isinstance(a, str) for a in args[:2]):
        _check_size(len(subject) + subject.count(args[0]) * len(args[1]))
    if name in ("indent", "tojson", "wordwrap", "expandtabs"):
        widest = max((a for a in (*args, *named.values()) if isinstance(a, int)), default=0)
        _spend(widest)  # once a line
    if name == "join":
        # "sep".join(items) and items | join("sep")
        separator, items = (
            (subject, args[0]) if isinstance(subject, str) and args else (args[0] if args else "", subject)
        )
        if isinstance(separator, str) and hasattr(items, "__len__"):
            _check_size(len(separator) * len(items))


class BoundedEnvironment(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """Jinja's sandbox in which templates spend of a budget; render what it compiles inside `bounded`."""

    intercepted_binops = frozenset(["+", "*", "**", "%"])

    def __init__(self, **settings: Any):
        super().__init__(finalize=_charge, **settings)
        self.spend, self.concatenate = _spend, _concatenate
        self.filters = {name: checked(name, function) for name, function in self.filters.items()}

    def from_source(self, source: str) -> jinja2.Template:
        """Compiles a template whose loops and macros are counted."""
        tree = self.parse(source)
        for node in [*tree.find_all((jinja2.nodes.For, jinja2.nodes.Macro, jinja2.nodes.CallBlock))]:
            turn = 1 if isinstance(node, jinja2.nodes.For) else _CALL
            literal = sum(len(data.data) for data in node.find_all(jinja2.nodes.TemplateData))
            counted = self._called("spend", jinja2.nodes.Const(turn + literal // _PIECE))
            node.body.insert(0, jinja2.nodes.ExprStmt(counted))  # type: ignore[attr-defined]
            if isinstance(node, jinja2.nodes.For) and node.test is not None:
                node.test = jinja2.nodes.And(self._called("spend", jinja2.nodes.Const(1)), node.test)
        _replace_concatenation(tree, self._called)
        for part in tree.find_all(jinja2.nodes.Node):
            part.lineno = part.lineno or 1
        tree.set_environment(self)
        return self.from_string(tree)

    def _called(self, name: str, *args: jinja2.nodes.Expr) -> jinja2.nodes.Call:
        return jinja2.nodes.Call(jinja2.nodes.EnvironmentAttribute(name), list(args), [], None, None)

    def call(self, context: Any, obj: Any, /, *args: Any, **named: Any) -> Any:  # type: ignore[override]
        """Calls what a template calls."""
        if obj is _spend:
            return _spend(*args)
        bound = getattr(obj, "__wrapped__", obj)  # the sandbox wraps str.format
        _check_call(getattr(obj, "__name__", ""), getattr(bound, "__self__", None), args, named)
        return _charge(super().call(context, obj, *args, **named))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Computes what a template computes."""
        if operator == "%" and isinstance(left, str) and _WIDTH.search(left):
            raise TooMuch("it formats something to a gigantic width")
        if isinstance(left, int) and isinstance(right, int):
            bits = left.bit_length() * max(right, 1) if operator == "**" else left.bit_length() + right.bit_length()
            if bits > _BITS:
                raise TooMuch("it computes a gigantic number")
        if operator == "*":
            for one, times in ((left, right), (right, left)):
                if hasattr(one, "__len__") and isinstance(times, int):
                    _check_size(len(one) * times)
        if operator == "+" and hasattr(left, "__len__") and hasattr(right, "__len__"):
            _check_size(len(left) + len(right))
        return _charge(super().call_binop(context, operator, left, right))


def _concatenate(*parts: Any) -> str:
    return "".join(str(_charge(part)) for part in parts)


def _replace_concatenation(node: jinja2.nodes.Node, called: Callable[..., jinja2.nodes.Call]) -> None:
    """Has `a ~ b` charged; Jinja has no other way in."""
    for field, value in node.iter_fields():
        if isinstance(value, jinja2.nodes.Node):
            _replace_concatenation(value, called)
            if isinstance(value, jinja2.nodes.Concat):
                setattr(node, field, called("concatenate", *value.nodes))
        elif isinstance(value, list):
            for number, item in enumerate(value):
                if isinstance(item, jinja2.nodes.Node):
                    _replace_concatenation(item, called)
                    if isinstance(item, jinja2.nodes.Concat):
                        value[number] = called("concatenate", *item.nodes)


def checked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that is charged for what it is given and gives."""
    passes = getattr(function, "jinja_pass_arg", None)  # the filter is given its context first
    before = 0 if passes is None else 1

    def filtered(*args: Any, **named: Any) -> Any:
        subject, *rest = args[before:]
        _charge(subject)
        _check_call(name, subject, tuple(rest), named)
        return _charge(function(*args, **named))

    if passes is not None:
        filtered.jinja_pass_arg = passes  # type: ignore[attr-defined]
    return filtered
