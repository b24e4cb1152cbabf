"""How the settings of a run are named: its gin sections, and a macro and plain flag for the main ones.

Standard library only.
"""

import ast
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def read_whole(text: str) -> int:
    """Reads a whole number; `1_000` and `2e3` are understood.

    >>> read_whole("2e3"), read_whole("9_007_199_254_740_993")
    (2000, 9007199254740993)
    """
    digits = text.replace("_", "")
    if digits.lstrip("+-").isdecimal():
        return int(digits)  # a float would round what has more than 15 digits
    number = float(digits)
    if number != int(number):
        raise ValueError(text)
    return int(number)


def read_number(text: str) -> float:
    """Reads a number; infinity and "nan" are none.

    >>> read_number("3e-4")
    0.0003
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def read_share(text: str) -> float | tuple[tuple[float, float], ...]:
    """Reads a share, or a schedule of shares: pairs of the part of the run that is done and the share then.

    >>> read_share("0.1"), read_share("0:0.5,1:0.1")
    (0.1, ((0.0, 0.5), (1.0, 0.1)))
    """
    if ":" not in text:
        return read_number(text)
    points = [point.partition(":") for point in text.split(",")]
    return tuple((read_number(at), read_number(share)) for at, _, share in points)


def read_pairs(text: str) -> dict[str, int]:
    """Reads `inputs=64,targets=16`, or the same as a Python dict.

    >>> read_pairs("data=1,fsdp=-1")
    {'data': 1, 'fsdp': -1}
    """
    if text.lstrip().startswith("{"):
        value = ast.literal_eval(text)
        return {str(name): read_whole(str(size)) for name, size in value.items()}
    return {name: read_whole(size) for name, size in read_fields(text).items()}


def read_values(text: str) -> dict[str, Any]:
    """Reads `{"SEED": (0, 1, 2)}`, and cases by name; see `flan_jax.config.sweeps`.

    >>> read_values("{'SEED': [0, 1], 'case': {'short': {'STEPS': 5}}}")
    {'SEED': (0, 1), 'case': {'short': {'STEPS': 5}}}
    """
    value = ast.literal_eval(text)
    return {str(name): values if isinstance(values, dict) else tuple(values) for name, values in value.items()}


def read_steps(text: str) -> tuple[int, ...]:
    """Reads steps.

    >>> read_steps("100,2e2")
    (100, 200)
    """
    return tuple(read_whole(step) for step in text.split(","))


def read_fields(text: str) -> dict[str, str]:
    """Reads `inputs=question,targets=answer`.

    >>> read_fields("inputs=question,targets=answer")
    {'inputs': 'question', 'targets': 'answer'}
    """
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(equals and name.strip() and value.strip() for name, equals, value in pairs):
        raise ValueError(text)
    return {name.strip(): value.strip() for name, _, value in pairs}


def read_words(text: str) -> tuple[str, ...]:
    """Reads `<|tool|>,<|end_tool|>`.

    >>> read_words("<|tool|>, <|end_tool|>")
    ('<|tool|>', '<|end_tool|>')
    """
    return tuple(word.strip() for word in text.split(","))


WANTED: dict[Callable[[str], Any], str] = {
    str: "a word",
    read_number: "a number",
    read_whole: "a whole number",
    read_values: "{'NAME': (VALUE, VALUE)}",
    read_share: "a share, or 0:SHARE,1:SHARE",
    read_pairs: "NAME=SIZE,NAME=SIZE",
    read_fields: "inputs=COLUMN,targets=COLUMN",
    read_words: "TEXT,TEXT",
    read_steps: "STEP,STEP",
}


@dataclass(frozen=True)
class Macro:
    """One setting of a run: a gin macro `NAME = value`, and a plain flag `--name value`.

    Attributes:
      target: the parameter that the macro sets, as gin names it.
      read: turns the flag's text into the value.
      metavar: what `--help` shows in the value's place.
      help: one line for `--help`.
    """

    target: str
    read: Callable[[str], Any]
    metavar: str
    help: str


MACROS: dict[str, Macro] = {
    "MIXTURE": Macro("Run.mixture", str, "NAME", "the mixture or task to train on (see `flan-jax tasks`)"),
    "PRETRAINING": Macro("Pretraining.mixture", str, "NAME", "tasks of plain text to train on beside MIXTURE"),
    "PRETRAINING_FRACTION": Macro(
        "Pretraining.fraction", read_share, "X", "the share of trainable tokens that plain text has, or a schedule"
    ),
    "REPLAY": Macro("Replay.mixture", str, "NAME,NAME", "what was trained on before, and is replayed beside MIXTURE"),
    "REPLAY_FRACTION": Macro(
        "Replay.fraction", read_share, "X", "the share of trainable tokens that is replayed, or a schedule"
    ),
    "MODEL": Macro("Run.model_name", str, "NAME", "a model: gin_configs/models/NAME.gin, or a gin file of your own"),
    "INIT_FROM": Macro(
        "Run.init_from", str, "FOLDER", "start from the parameters of this run, Hugging Face folder or T5X checkpoint"
    ),
    "VOCABULARY": Macro(
        "Run.vocabulary",
        str,
        "PATH",
        "what tasks are read with that insist on none: a SentencePiece model or a Hugging Face folder (INIT_FROM's)",
    ),
    "FORM": Macro(
        "Run.form",
        str,
        "plain|chat|auto",
        "how instructions and conversations are written: by the model's chat template or without (auto: as it has one)",
    ),
    "CHAT_TEMPLATE": Macro(
        "Run.chat_template", str, "FILE", "a chat template of yours, a file of Jinja, in the place of the model's own"
    ),
    "SPECIAL_TOKENS": Macro(
        "Run.special_tokens", read_words, "TEXT,TEXT", "texts that become a token each, as a chat template writes them"
    ),
    "LORA": Macro(
        "Lora.rank",
        read_whole,
        "RANK",
        "train adapters of this rank beside the frozen model of INIT_FROM; 0: all of it",
    ),
    "FEATURE_LENGTHS": Macro(
        "Run.feature_lengths", read_pairs, "inputs=N,targets=N", "the length of a packed row, in tokens"
    ),
    "BATCH_SIZE": Macro("Run.batch_size", read_whole, "N", "rows in a batch, over all devices and hosts"),
    "MICROBATCHES": Macro("Run.microbatches", read_whole, "N", "parts a batch is computed in, to save memory"),
    "STEPS": Macro("Run.steps", read_whole, "N", "how long to train, in steps (or give --epochs)"),
    "EPOCHS": Macro("Run.epochs", read_number, "X", "how long to train, in passes over the mixture (or give --steps)"),
    "LEARNING_RATE": Macro(
        "Optimizer.learning_rate", read_number, "X", "the highest learning rate of the schedule; at 0 nothing is learnt"
    ),
    "MESH": Macro("Run.mesh", read_pairs, "data=N,fsdp=N", "devices along each axis; -1 takes what is left"),
    "EVAL_MIXTURE": Macro("Run.eval_mixture", str, "NAME", "the mixture or task to score"),
    "EVAL_EXAMPLES": Macro("Evaluation.max_examples", read_whole, "N", "how many examples of each task are scored"),
    "EVAL_PERIOD": Macro("Run.eval_period", read_whole, "N", "steps from one scoring to the next; 0: only at the end"),
    "SAVE_PERIOD": Macro("Run.save_period", read_whole, "N", "steps from one checkpoint to the next; 0: only the last"),
    "LOG_PERIOD": Macro("Run.log_period", read_whole, "N", "steps from one row of per-task losses to the next"),
    "STAGES": Macro(
        "Run.stages", read_words, "NAME,NAME", "the run's stages, in order; NAME/STEPS is the STEPS of one"
    ),
    "SWEEP": Macro(
        "Run.sweep", read_values, "{NAME: VALUES}", "the values that `flan-jax sweep` gives to each setting"
    ),
    "RUN_DIR": Macro("Run.run_dir", str, "FOLDER", "where checkpoints, metrics and results go"),
    "STORE_DIR": Macro("Run.store_dir", str, "FOLDER", "where tokenised examples are kept and shared by runs"),
    "SEED": Macro("Run.seed", read_whole, "N", "every random draw of the run follows from it"),
}

T5X_NAMES: dict[str, str] = {
    "MIXTURE_OR_TASK_NAME": "MIXTURE",
    "MIXTURE_OR_TASK_MODULE": "Run.modules (or the flag --module)",
    "TASK_FEATURE_LENGTHS": "FEATURE_LENGTHS",
    "TRAIN_STEPS": "STEPS (of this run alone, pretraining's steps not counted)",
    "MODEL_DIR": "RUN_DIR",
    "INITIAL_CHECKPOINT_PATH": "INIT_FROM",
    "CHECKPOINT_PATH": "INIT_FROM",
    "EVAL_STEPS": "EVAL_EXAMPLES (of each task)",
    "EVAL_OUTPUT_DIR": "RUN_DIR",
    "INFER_OUTPUT_DIR": "RUN_DIR",
    "CHECKPOINT_PERIOD": "SAVE_PERIOD",
    "SAVING_PERIOD": "SAVE_PERIOD",
    "DROPOUT_RATE": "Model.dropout_rate",
    "Z_LOSS": "Loss.z_loss",
    "LABEL_SMOOTHING": "Loss.label_smoothing",
    "LOSS_NORMALIZING_FACTOR": "nothing to set: a loss is summed and divided by its weight once",
    "USE_CACHED_TASKS": "nothing to set: every task is prepared once, into STORE_DIR",
    "USE_HARDWARE_RNG": "nothing to set",
    "RANDOM_SEED": "SEED",
    "SHUFFLE_TRAIN_EXAMPLES": "nothing to set: the plan permutes the examples of every epoch by SEED",
    "NUM_MICROBATCHES": "MICROBATCHES",
    "NUM_PARTITIONS": "MESH",
    "MODEL_PARALLEL_SUBMESH": "MESH",
    "OPTIMIZER": "Optimizer.name or Optimizer.factory",
    "PACK": "Data.pack",
    "SPLIT": "Data.split",
}

SECTIONS: dict[str, str] = {
    "Run": "",
    "Model": "model",
    "Lora": "lora",
    "Optimizer": "optimizer",
    "Loss": "loss",
    "Data": "data",
    "Hygiene": "hygiene",
    "Augment": "augment",
    "Balance": "balance",
    "Pretraining": "pretraining",
    "Replay": "replay",
    "Curriculum": "curriculum",
    "Distillation": "distillation",
    "Stopping": "stopping",
    "Checkpoints": "checkpoints",
    "Evaluation": "evaluation",
}
"""The gin sections, each with the field of `RunConfig` that it sets."""


def path_of(gin_name: str) -> str:
    """The field that a gin name means, with the section's field before it.

    >>> path_of("Run.batch_size"), path_of("Optimizer.learning_rate")
    ('batch_size', 'optimizer.learning_rate')
    """
    section, _, name = gin_name.partition(".")
    return f"{SECTIONS[section]}.{name}".lstrip(".")


def setting(path: str) -> str:
    """What the user types to set a field: its macro, or its gin name.

    >>> setting("batch_size"), setting("optimizer.learning_rate"), setting("data.window")
    ('BATCH_SIZE', 'LEARNING_RATE', 'Data.window')
    """
    section, _, name = path.rpartition(".")
    gin_name = next(key for key, value in SECTIONS.items() if value == section) + f".{name}"
    return next((macro for macro, row in MACROS.items() if row.target == gin_name), gin_name)
