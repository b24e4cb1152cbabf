"""`flan-jax`: parses the command line, resolves one `RunConfig`, and hands it to the subcommand.

Only what a subcommand needs is imported: `--help` is answered without JAX.
"""

import argparse
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax import huge_pages, library_noise
from flan_jax.config import command_line
from flan_jax.config.command_options import own_arguments
from flan_jax.errors import UserError, path_fault, told

ENTRY_POINTS: dict[str, str] = {
    "train": "flan_jax.train:train",
    "sweep": "flan_jax.sweep:sweep",
    "eval": "flan_jax.evaluation.run:evaluate_run",
    "compare": "flan_jax.commands.compare:compare_command",
    "rescore": "flan_jax.commands.rescore:rescore_command",
    "generate": "flan_jax.commands.generate:generate",
    "import": "flan_jax.commands.import_model:import_command",
    "export": "flan_jax.commands.export_model:export_command",
    "average": "flan_jax.commands.average:average_command",
    "prepare": "flan_jax.commands.prepare:prepare_command",
    "plan": "flan_jax.commands.plan:plan_command",
    "inspect": "flan_jax.commands.inspect:inspect_command",
    "tasks": "flan_jax.commands.listing:tasks_command",
    "vocab": "flan_jax.commands.prepare:vocab_command",
}
OF_STAGES: dict[str, str] = {
    "train": "flan_jax.stages:train_runs",
    "plan": "flan_jax.commands.plan:plan_stages",
    "prepare": "flan_jax.commands.prepare:prepare_stages",
}


def _dispatch(command: str, options: argparse.Namespace, macros: dict[str, Any], bindings: Sequence[str]) -> int | None:
    own = own_arguments(command, options)
    from flan_jax.config import plain_flags, resolving  # not for `--help`, nor for what was refused by now

    if command == "plan" and options.compare:
        from flan_jax.commands.plan import compare_plans

        return compare_plans(resolving.resolve_each(command, options, macros, bindings, options.compare), **own)
    if command == "sweep":
        return _sweep(options, macros, bindings, own)
    mixture = macros.pop("MIXTURE", None) if command in ("compare", "eval") else None  # there it is what to score
    if command in OF_STAGES:
        runs = resolving.resolve_runs(options, macros, bindings, command)
        if len(runs) > 1:
            from flan_jax import stage_tasks  # as `setup` below

            stage_tasks.refuse_unknown(runs)
            return _entry(OF_STAGES[command])(runs, **own)
        config = runs[0]
    else:
        config = resolving.resolve(command, options, macros, bindings)
    if command in ("compare", "eval"):
        own["mixture"] = mixture
    if options.data:
        plain_flags.check_columns(config)
    if command in ("train", "plan", "prepare", "vocab"):
        from flan_jax import setup  # without JAX, which `train` imports: a wrong name is told in no time

        setup.refuse_unknown(config)
    return _entry(ENTRY_POINTS[command])(config, **own)


def _sweep(options: argparse.Namespace, macros: dict[str, Any], bindings: Sequence[str], own: dict[str, Any]) -> int:
    from flan_jax import stage_tasks
    from flan_jax.config import plain_flags, sweeps

    runs = sweeps.runs_of(options, macros, bindings)
    if options.data:
        plain_flags.check_columns(runs[0].configs[0])  # the same files in each
    for run in runs:
        stage_tasks.refuse_unknown(run.configs)
    return _entry(ENTRY_POINTS["sweep"])(runs, **own)


def _entry(point: str) -> Callable[..., int]:
    module, _, function = point.partition(":")
    return getattr(importlib.import_module(module), function)


def main(argv: Sequence[str]) -> int:
    """Runs one command.

    Args:
      argv: the arguments, without the program's name.

    Returns:
      The exit code: 0, or 2 after a fault that the user can mend, told on stderr, a line a fault.
    """
    try:
        return _dispatch(*command_line.parse(argv)) or 0
    except UserError as fault:
        print(f"flan-jax: {told(str(fault))}", file=sys.stderr)
        return 2
    except OSError as error:
        if (said := path_fault(error)) is None:
            raise
        print(f"flan-jax: {told(said)}", file=sys.stderr)
        return 2
    except SystemExit as leaving:  # argparse, after --help
        return leaving.code if isinstance(leaving.code, int) else 0
    except KeyboardInterrupt:
        print("flan-jax: interrupted", file=sys.stderr)
        return 130


def _open_streams() -> None:
    """Puts nothing in the place of standard streams that are closed, and lets the others take any text.

    What a run opens would otherwise get the number of a closed one, and with it what libraries print there.
    """
    for name, mode, errors in (("stdin", "r", "surrogateescape"), ("stdout", "w", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, errors=errors))  # noqa: SIM115 (lives as long as the process)
        elif isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors=errors)
    sys.stderr = sys.stderr or open(os.devnull, "w", errors="backslashreplace")  # noqa: SIM115


def run() -> None:
    """The entry point of `flan-jax` and of `python -m flan_jax.main`."""
    _open_streams()
    huge_pages.ask_for(sys.argv[1] if len(sys.argv) > 1 else "")
    library_noise.silence()
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    sys.exit(code)


if __name__ == "__main__":
    run()
