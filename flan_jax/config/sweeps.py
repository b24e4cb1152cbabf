"""What `flan-jax sweep` varies: the values of each setting, their product, and a name for each run.

SWEEP gives a setting several values, and so does a flag `--gin.NAME=VALUE,VALUE`. The setting "case" stands for several
that change together: each of its values is a dict of settings.

    SWEEP = {
        "case": {"uncapped": {}, "capped": {"Balance.cap": 100, "STEPS": 500}},
        "SEED": (0, 1, 2),
    }
"""

import argparse
import ast
import dataclasses
import hashlib
import io
import itertools
import re
import shlex
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flan_jax.config import binding
from flan_jax.config.checks import refuse
from flan_jax.config.gin_statements import Binding
from flan_jax.config.macros import MACROS
from flan_jax.config.resolving import resolve_runs
from flan_jax.config.run_config import RunConfig
from flan_jax.config.starting_point import default_run_dir
from flan_jax.errors import UserError, together

CASE, SEED = "case", "SEED"
OWN = ("RUN_DIR", "SWEEP")  # what a sweep sets itself, in each run
_LONGEST_NAME = 100  # of a run's folder
_MOST_RUNS = 10_000
_OTHER_LENGTH = {"STEPS": "EPOCHS", "EPOCHS": "STEPS"}


@dataclass(frozen=True)
class Value:
    """One value of one axis.

    Attributes:
      shown: how a table and a folder's name give it.
      settings: what it sets: gin text by the setting's name.
    """

    shown: str
    settings: Mapping[str, str]


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep, or a run of stages.

    Attributes:
      values: how each axis is shown, in the axes' order.
      run_dir: its folder.
      bindings: what it sets beside gin files and plain flags, as gin text.
      configs: the configuration of each of its stages; of one run, where it has none.
    """

    values: Mapping[str, str]
    run_dir: str
    bindings: tuple[str, ...]
    configs: Sequence[RunConfig] = ()

    @property
    def label(self) -> str:
        """Its values as its headline says them.

        >>> SweepRun({"LEARNING_RATE": "0.001", "SEED": "2"}, "runs/a", ()).label
        'LEARNING_RATE=0.001 SEED=2'
        """
        return " ".join(f"{name}={value}" for name, value in self.values.items())


def runs_of(options: argparse.Namespace, macros: Mapping[str, Any], bindings: Sequence[str]) -> list[SweepRun]:
    """The runs that a command line of `sweep` means, each resolved and checked; seeds change fastest.

    Args:
      options: the options, as `resolving.resolve` takes them.
      macros: what plain flags set.
      bindings: what `--gin.` flags set, as gin text; a value may be a list with commas between.

    Raises:
      UserError: nothing is varied, a value cannot be read, or settings of the runs have faults.
    """
    fixed, flags = _flag_axes(bindings)
    statements = binding.read(options.gin_file, fixed)
    refuse(statements.faults)
    final = statements.final()
    given = _swept(final, macros)
    settled = {*macros, *(text.partition("=")[0] for text in fixed)}
    axes = {name: values for name, values in given.items() if name not in settled} | flags
    refuse(_axis_faults(axes, settled))
    axes = {name: axes[name] for name in sorted(axes, key=lambda name: name == SEED)}  # the others keep their order
    root = _root(options, macros, final)
    combinations = itertools.product(*axes.values())
    runs = [_run(root, fixed, dict(zip(axes, values, strict=True))) for values in combinations]
    return _resolved(runs, options, macros)


def split_values(text: str) -> list[str]:
    """The parts of a list of gin values; commas within brackets and quotes part nothing.

    >>> split_values("1e-3, 3e-4"), split_values('"a,b","c"'), split_values("{'x': 1, 'y': 2},{'x': 2}")
    (['1e-3', '3e-4'], ['"a,b"', '"c"'], ["{'x': 1, 'y': 2}", "{'x': 2}"])
    """
    starts = list(itertools.accumulate((len(line) for line in text.splitlines(keepends=True)), initial=0))
    depth, commas = 0, []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.ERRORTOKEN and token.string[0] in "'\"":
                return [text]  # as below, before Python 3.12
            if token.type == tokenize.OP:
                depth += (token.string in "([{") - (token.string in ")]}")
                if token.string == "," and depth == 0:
                    commas.append(starts[token.start[0] - 1] + token.start[1])
    except (tokenize.TokenError, SyntaxError):  # a bracket or a quote is left open, which gin tells better
        return [text]
    return [text[a + 1 : b].strip() for a, b in itertools.pairwise([-1, *commas, len(text)])]


def _flag_axes(bindings: Sequence[str]) -> tuple[list[str], dict[str, list[Value]]]:
    """The `--gin.` flags of one value, and the axes of those that have several."""
    fixed: list[str] = []
    axes: dict[str, list[Value]] = {}
    for text in bindings:
        name, _, values = text.partition("=")
        name, parts = name.strip(), split_values(values)
        axes.pop(name, None)  # of a name that is given twice, the later holds
        fixed = [other for other in fixed if other.partition("=")[0].strip() != name]
        if len(parts) == 1:
            fixed.append(text)
        elif not all(parts):
            raise UserError(f"--gin.{text}: a value of the list is empty; type --gin.{name}=VALUE,VALUE")
        else:
            axes[name] = [Value(_shown(_literal(part)), {name: _gin_text(part)}) for part in parts]
    return fixed, axes


def _swept(final: Mapping[str, Binding], macros: Mapping[str, Any]) -> dict[str, list[Value]]:
    """The axes of SWEEP."""
    place = f"{final['SWEEP'].place}: " if "SWEEP" in final and "SWEEP" not in macros else ""
    sweep = macros.get("SWEEP", final["SWEEP"].value if "SWEEP" in final else {})
    wanted = f'wanted {{"NAME": (VALUE, VALUE)}}, as {{"{SEED}": (0, 1, 2)}}'
    if not isinstance(sweep, dict):
        raise UserError(f"{place}SWEEP is {sweep!r}, {wanted}")
    axes = {}
    for name, values in sweep.items():
        if name == CASE:
            axes[CASE] = list(_cases(values, place))
        elif not isinstance(values, tuple | list) or not values or not isinstance(name, str):
            raise UserError(f"{place}SWEEP has {name!r}: {values!r}, {wanted}")
        else:
            axes[name] = [Value(_shown(value), {name: repr(value)}) for value in values]
    return axes


def _cases(cases: Any, place: str) -> Iterator[Value]:
    """The values of the axis "case": dicts of settings, by names of their own or named after what they set."""
    named = cases if isinstance(cases, dict) else dict(enumerate(cases if isinstance(cases, tuple | list) else [None]))
    for name, settings in named.items():
        if not isinstance(settings, dict) or not all(isinstance(key, str) for key in settings):
            wanted = f'"{CASE}": {{"plain": {{}}, "capped": {{"Balance.cap": 100}}}}'
            raise UserError(f"{place}SWEEP has {CASE!r}: {cases!r}, wanted settings by the names of cases, as {wanted}")
        said = ",".join(f"{key}={_shown(value)}" for key, value in settings.items()) or "plain"
        yield Value(name if isinstance(name, str) else said, {key: repr(value) for key, value in settings.items()})


def _axis_faults(axes: Mapping[str, Sequence[Value]], settled: set[str]) -> list[str]:
    if not axes:
        said = "a sweep varies nothing here; give a setting several values, as --gin.SEED=0,1,2"
        return [f"{said}, or a gin file with a SWEEP (and no flag that settles what it varies)"]
    faults = []
    names = [name for axis, values in axes.items() for name in {key for value in values for key in value.settings}]
    for name in dict.fromkeys(names):
        macro = setting_of(name)
        if macro in OWN:
            faults.append(f"{macro} cannot be swept: each run of a sweep has a folder of its own in the sweep's")
        if names.count(name) > 1:
            faults.append(f"a case of SWEEP sets {name}, which is swept beside it; keep one")
        if name in settled:
            faults.append(f"a sweep varies {name}, and a flag settles it; leave the flag out")
        elif (other := _OTHER_LENGTH.get(macro)) in settled:
            faults.append(f"a sweep varies {name}, and a flag settles {other}, which is the same; leave the flag out")
    for axis, values in axes.items():
        shown = [value.shown for value in values]
        faults += [
            f"{axis} has {value} twice among its values" for value in dict.fromkeys(shown) if shown.count(value) > 1
        ]
    if (count := len(list(itertools.islice(itertools.product(*axes.values()), _MOST_RUNS + 1)))) > _MOST_RUNS:
        faults.append(f"the sweep has more than {count - 1:,} runs; give fewer values")
    return faults


def setting_of(name: str) -> str:
    """A setting by its macro, where it has one.

    >>> setting_of("Run.seed"), setting_of("flan_jax.Model.remat"), setting_of("chat/STEPS")
    ('SEED', 'Model.remat', 'chat/STEPS')
    """
    plain = name.removeprefix("flan_jax.")
    return next((macro for macro, row in MACROS.items() if row.target == plain), plain)


def _root(options: argparse.Namespace, macros: Mapping[str, Any], final: Mapping[str, Binding]) -> str:
    """The sweep's folder: RUN_DIR, or what it is by default."""
    given = macros.get("RUN_DIR") or (final["RUN_DIR"].value if "RUN_DIR" in final else None)
    return given if isinstance(given, str) and given else default_run_dir(options, "sweep")


def _run(root: str, fixed: Sequence[str], values: Mapping[str, Value]) -> SweepRun:
    shown = {axis: value.shown for axis, value in values.items()}
    texts = tuple(f"{name}={text}" for value in values.values() for name, text in value.settings.items())
    return SweepRun(shown, f"{root.rstrip('/')}/{folder_name(shown)}", (*fixed, *texts))


def folder_name(shown: Mapping[str, str]) -> str:
    """The name of a run's folder; one that is long, or has signs that folders' names should not, ends in a checksum.

    >>> folder_name({"LEARNING_RATE": "0.001", "SEED": "2"})
    'LEARNING_RATE=0.001,SEED=2'
    >>> folder_name({"chat/STEPS": "100"}), folder_name({"MIXTURE": "a b"})
    ('chat.STEPS=100', 'MIXTURE=a_b-bb7038d4')
    """
    said = ",".join(f"{name.replace('/', '.')}={value}" for name, value in shown.items())
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", said)[:_LONGEST_NAME]
    return name if name == said else f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"


def _resolved(runs: Sequence[SweepRun], options: argparse.Namespace, macros: Mapping[str, Any]) -> list[SweepRun]:
    """The runs with their configurations.

    Raises:
      UserError: what is wrong with the first run that has a fault.
    """
    found = []
    for run in runs:
        own = {**macros, "RUN_DIR": run.run_dir, "SWEEP": {}}
        try:
            configs = resolve_runs(options, own, run.bindings)
        except UserError as fault:
            raise UserError(together(fault.each(), f"run {run.label}")) from fault
        found.append(dataclasses.replace(run, configs=configs))
    return found


def launch(run: SweepRun, words: Sequence[str]) -> str:
    """The command of a run by itself, as a shell takes it.

    >>> launch(SweepRun({"SEED": "1"}, "runs/a/SEED=1", ("SEED=1",)), ["--gin_file=a.gin"])
    "flan-jax train --gin_file=a.gin --gin.SEED=1 --sweep '{}' --run_dir runs/a/SEED=1"
    """
    flags = [f"--gin.{text}" for text in run.bindings]
    return shlex.join(["flan-jax", "train", *words, *flags, "--sweep", "{}", "--run_dir", run.run_dir])


def _literal(text: str) -> Any:
    """The value of gin text; the text itself where it is no literal, as "@name"."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return _Written(text.strip())


def _gin_text(text: str) -> str:
    return repr(_literal(text))


class _Written(str):
    """Gin text that is shown as it stands."""

    __repr__ = str.__str__


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
