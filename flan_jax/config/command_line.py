"""The command line: a plain flag for each macro of a run, and the parser of every subcommand.

This module is all that `flan-jax --help` needs, so it imports nothing but the standard library.
"""

import argparse
import os
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from flan_jax import __version__
from flan_jax.config.macros import MACROS, T5X_NAMES, WANTED, read_fields, read_whole
from flan_jax.config.own_options import OWN
from flan_jax.errors import UserError, nearest

EPILOGS: dict[str, str] = {
    "train": """examples:
  flan-jax train --gin_file=quickstart.gin
  flan-jax train --gin_file=quickstart.gin --steps 500 --run_dir runs/short
  flan-jax train --data chats.jsonl --epochs 3
  flan-jax train --data table.csv --fields inputs=question,targets=reply --epochs 3
  flan-jax train --gin_file=my_run.gin --module my_package.my_tasks

Run the same command again and the run goes on where it stopped; Ctrl-C saves first.""",
    "sweep": """examples:
  flan-jax sweep --gin_file=quickstart.gin --gin.LEARNING_RATE=1e-3,3e-4 --gin.SEED=0,1,2
  flan-jax sweep --gin_file=demonstrations/learning_rate.gin
  flan-jax sweep --gin_file=demonstrations/learning_rate.gin --write runs.txt     (a command a run, for a scheduler)
  flan-jax sweep --gin_file=demonstrations/learning_rate.gin --report             (the table of what is finished)

Each run has a folder of its own in RUN_DIR. Run the same command again and the sweep goes on where it stopped.""",
    "eval": """examples:
  flan-jax eval --run_dir runs/quickstart
  flan-jax eval --run_dir runs/quickstart --mixture starter_eval --split validation --step 1000""",
    "compare": """examples:
  flan-jax compare runs/pretrained runs/tuned
  flan-jax compare runs/base runs/tuned --mixture starter_eval,unseen_suite
  flan-jax compare runs/base runs/tuned --repeats runs/tuned_1 --repeats runs/tuned_2 --forgot

With --forgot the exit code is 0 where nothing was forgotten beyond the noise, 1 where something was, 2 after an
error.""",
    "generate": """examples:
  flan-jax generate --run_dir runs/quickstart --prompt "Who is named first? Ann met Bob."
  flan-jax generate --run_dir runs/quickstart --prompts questions.jsonl --output answers.jsonl
  flan-jax generate --run_dir runs/quickstart                (asks for prompts, one after another)

A file of prompts has one JSON object a line with "inputs" (and "targets", for --score).""",
    "import": """examples:
  flan-jax import models/flan-t5-small
  flan-jax import models/Llama-3.2-1B --output runs/llama
  flan-jax train --init_from models/Llama-3.2-1B --data chats.jsonl     (straight from the folder)

The folder holds config.json, safetensors and a tokenizer, as transformers saves them.""",
    "export": """examples:
  flan-jax export runs/llama exported/llama
  flan-jax export runs/llama exported/llama --step 2000 --dtype bfloat16
  flan-jax export runs/tuned exported/adapter --adapter      (of a run with --lora)

The folder is read back, and prompts must give the same ids and the same logits, before this says done.""",
    "average": """examples:
  flan-jax average runs/long runs/long-mean --last 5
  flan-jax average runs/long runs/long-mean --checkpoints 8000,9000,10000

How many checkpoints of a run stay is Checkpoints.keep; the mean is a run of its own, for eval, generate and export.""",
    "rescore": """examples:
  flan-jax rescore runs/quickstart --metric my_package.my_metric
  flan-jax rescore runs/quickstart/samples/eval/my_task.jsonl --metric my_package.my_metric --json

Answers are kept wherever a run is scored (Evaluation.samples); neither its model nor its data are read.""",
    "prepare": """examples:
  flan-jax prepare --gin_file=quickstart.gin
  flan-jax prepare --mixture starter --feature_lengths inputs=64,targets=16
  flan-jax prepare --repair --run_dir runs/quickstart        (reads every byte, mends what is damaged)
  flan-jax prepare --gin_file=my_run.gin --difficulty runs/small   (the loss of each example, for a curriculum)
  flan-jax prepare --gin_file=distillation.gin --teacher runs/quickstart    (its likeliest tokens, for Distillation)
  flan-jax prepare --gin_file=my_run.gin --runner beam        (Apache Beam, here on all cores)
  flan-jax prepare --gin_file=my_run.gin --runner beam -- --runner=FlinkRunner --flink_master=HOST:8081

`train` prepares by itself what is missing; use this to do it ahead, or on another machine.""",
    "plan": """examples:
  flan-jax plan --gin_file=quickstart.gin
  flan-jax plan --gin_file=quickstart.gin --json > plan.json
  flan-jax plan --gin_file=quickstart.gin --estimate        (from a sample, without preparing)
  flan-jax plan --compare quickstart.gin balance.gin        (two runs side by side)""",
    "inspect": """examples:
  flan-jax inspect --task my_task --module my_tasks --num 3   (straight from the source)
  flan-jax inspect --run_dir runs/quickstart --step 120       (what exactly step 120 trains on)
  flan-jax inspect --gin_file=quickstart.gin
  flan-jax inspect --gin_file=my_run.gin --dropped            (what Hygiene leaves out, and why)""",
    "tasks": """examples:
  flan-jax tasks
  flan-jax tasks sentiment
  flan-jax tasks --module my_package.my_tasks
  flan-jax tasks --overlap my_mixture my_evals --ngram 8      (rows that they share)""",
    "vocab": """examples:
  flan-jax vocab --mixture my_mixture --module my_tasks --size 8000 --output my_vocabulary.model""",
}

COMMANDS: dict[str, str] = {
    "train": "Train a model on a mixture of tasks, score it and keep it.",
    "sweep": "Train a run for each combination of values of settings, and compare what they score.",
    "eval": "Score the checkpoint of a run on the tasks of a mixture.",
    "compare": "Say what a run forgot of what the model did before it.",
    "rescore": "Score answers that a run kept by other metrics, without its model.",
    "generate": "Answer prompts with the checkpoint of a run.",
    "import": "Make a run out of a Hugging Face folder.",
    "export": "Write the checkpoint of a run as a Hugging Face folder.",
    "average": "Make a run out of the mean of another's checkpoints.",
    "prepare": "Tokenise the tasks of a mixture into the store, ahead of a run.",
    "plan": "Show what every task will contribute to a run, before it starts.",
    "inspect": "Show examples as the model sees them.",
    "tasks": "List the registered tasks and mixtures.",
    "vocab": "Train a SentencePiece vocabulary on the text of a mixture.",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose faults are `UserError`s."""

    def error(self, message: str) -> NoReturn:
        """Raises the fault instead of printing the usage and leaving."""
        raise UserError(f"{message}; see `{self.prog} --help`")


def _reader(flag: str, read: Callable[[str], Any]) -> Callable[[str], Any]:
    def checked(text: str) -> Any:
        try:
            return read(text)
        except (ValueError, SyntaxError, AttributeError, OverflowError):
            raise UserError(f"{flag} takes {WANTED[read]}, got {text!r}") from None

    return checked


def _add_shared(command: str, parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group("configuration")
    files.add_argument(
        "--gin_file",
        action="append",
        default=[],
        metavar="FILE",
        help="a gin file: a path, or a name in gin_configs/; may be given again, later ones win",
    )
    files.add_argument(
        "--gin.NAME=VALUE",
        dest="gin_help",
        action="store_true",
        help="""one gin binding, over the files: --gin.STEPS=100, --gin.Model.dropout_rate=0.1,
        --gin.Optimizer.name='"adafactor"' (a word in gin needs its quotes)"""
        + "; --gin.SEED=0,1,2 varies a setting" * (command == "sweep"),
    )
    files.add_argument(
        "--module",
        action="append",
        default=[],
        metavar="PACKAGE.MODULE",
        help="a Python module of yours that registers tasks or mixtures; may be given again",
    )
    parser.set_defaults(data=[], fields=None, held_out=None, on_bad_row=None)
    if command in ("train", "sweep", "plan", "prepare", "inspect", "vocab"):
        _add_data(files)
    settings = parser.add_argument_group(
        "settings, over the files and --gin.; every command knows them all and takes what it needs"
    )
    for name, macro in MACROS.items():
        flag = f"--{name.lower()}"
        settings.add_argument(
            flag,
            dest=f"macro_{name}",
            type=_reader(flag, macro.read),
            metavar=macro.metavar,
            help=macro.help.replace("%", "%%"),
        )


def _add_data(files: Any) -> None:
    files.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="FILE",
        help="a JSONL, JSON, CSV or Parquet file to train on, or a folder of such, without gin or Python; may be given "
        "again",
    )
    files.add_argument(
        "--fields",
        type=_reader("--fields", read_fields),
        metavar="inputs=COL,targets=COL",
        help="the columns of --data, where its rows are of no known kind",
    )
    files.add_argument(
        "--held_out",
        type=_reader("--held_out", read_whole),
        metavar="ROWS",
        help="the first rows of each --data file, which are scored before and after instead of trained on (a tenth, at "
        "most 50; 0 for none)",
    )
    files.add_argument(
        "--on_bad_row",
        choices=("error", "skip"),
        help="what a row that cannot be read does: end the command (as it does by default), or be left out and counted",
    )


def _add_own(command: str, parser: argparse.ArgumentParser) -> None:
    for name, how in OWN.get(command, ()):
        how = dict(how)
        if (read := how.pop("read", None)) is not None:
            how["type"] = _reader(name, read)
        parser.add_argument(name, **how)


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of `flan-jax`, or of one subcommand.

    Args:
      command: a key of `COMMANDS`; None for the overview.
    """
    shape: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
    if command is not None:
        parser = Parser(prog=f"flan-jax {command}", description=COMMANDS[command], epilog=EPILOGS[command], **shape)
        _add_own(command, parser)
        _add_shared(command, parser)
        return parser
    listing = "\n".join(f"  {name:<10}{text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="flan-jax",
        usage="flan-jax COMMAND [options]",
        description="Instruction tuning in JAX: declare tasks, see the plan, train, score.",
        epilog=f"commands:\n{listing}\n\n`flan-jax COMMAND --help` tells more, with examples. To see it work:\n"
        "  flan-jax train --gin_file=quickstart.gin",
        **shape,
    )
    parser.add_argument("--version", action="version", version=f"flan-jax {__version__}")
    return parser


def split_gin(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Takes the `--gin.NAME=value` arguments out of a command line.

    Args:
      argv: the arguments.

    Returns:
      The other arguments, and the bindings as gin text.

    Raises:
      UserError: a binding without a value.

    >>> split_gin(["--gin.STEPS=5", "--seed", "1", "--gin.Model.remat", '"full"'])
    (['--seed', '1'], ['STEPS=5', 'Model.remat="full"'])
    """
    others, bindings = [], []
    words = iter(argv)
    for word in words:
        if not word.startswith("--gin."):
            others.append(word)
            continue
        name, equals, value = word.removeprefix("--gin.").partition("=")
        if not equals:
            value = next(words, "--")
        if not name or value.startswith("--") or not value.strip():
            raise UserError(f"--gin.{name} has no value: type --gin.{name or 'NAME'}=VALUE")
        bindings.append(f"{name}={value}")
    return others, bindings


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace, dict[str, Any], list[str]]:
    """Parses a command line.

    Args:
      argv: the arguments, without the program's name.

    Returns:
      The command, its options, the macros given by plain flags, and the gin bindings.

    Raises:
      UserError: an unknown command or flag, or a value that cannot be read.
      SystemExit: after `--help` or `--version` was printed.
    """
    command = argv[0] if argv else "--help"
    if command.startswith("-"):
        make_parser().parse_args([command])
    if command not in COMMANDS:
        raise UserError(f"no command {command!r}{nearest(command, COMMANDS)}; `flan-jax --help` lists them")
    others, bindings = split_gin(argv[1:])
    parser = make_parser(command)
    options, unknown = parser.parse_known_args(others)
    if unknown:
        flag = unknown[0].partition("=")[0]
        known = [text for action in parser._actions for text in action.option_strings if "." not in text]
        hint = T5X_NAMES.get(flag.lstrip("-").upper())
        hint = f"--{hint.lower()}" if hint in MACROS else hint
        told = f"; here it is {hint}" if hint else nearest(flag.replace("-", "_").replace("__", "--", 1), known)
        raise UserError(f"`flan-jax {command}` has no {flag!r}{told}; see `flan-jax {command} --help`")
    if command == "sweep":
        only_own = Parser(add_help=False, allow_abbrev=False)
        _add_own(command, only_own)
        options.words = only_own.parse_known_args(others)[1]  # what `train` takes as well
    if options.gin_help:
        raise UserError("--gin.NAME=VALUE stands for a binding such as --gin.STEPS=100")
    macros = {name: value for name in MACROS if (value := getattr(options, f"macro_{name}")) is not None}
    if command == "import":
        name = os.path.basename(os.path.abspath(options.folder))
        macros = {"RUN_DIR": options.output or f"runs/{name}", **macros, "INIT_FROM": options.base or options.folder}
        if options.base:
            bindings.append(f"Lora.init_from={options.folder!r}")
    if command in ("average", "compare", "export"):
        macros["RUN_DIR"] = options.after if command == "compare" else options.run
    return command, options, macros, bindings
