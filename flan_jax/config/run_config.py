"""The whole configuration of a run, in one frozen dataclass, how it is checked, written and read back."""

import dataclasses
import functools
import json
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flan_jax.annotations import check_types, conform
from flan_jax.config.macros import MACROS
from flan_jax.config.named_functions import from_plain, signature_fault, to_plain
from flan_jax.config.training_settings import FORMS, LossConfig, OptimizerConfig
from flan_jax.errors import UserError, nearest, together
from flan_jax.files import filesystem
from flan_jax.files.text_files import read_text
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig

CONFIG_FILE = "config.json"
USER_MIXTURE = "user_data"


@dataclass(frozen=True)
class DataConfig:
    """How examples become rows.

    Attributes:
      on_long: what happens to an example longer than its row: "truncate" shortens a field and counts it, "drop" counts
        it, "refuse" ends the run.
      on_bad_row: "error" ends at a row of a source that cannot be read, "skip" counts it.
      max_draws: how many renderings of an example are prepared; epoch e uses draw e mod max_draws.
      window: examples that are packed together; larger fills rows better.
      pack: whether several examples share a row.
      prefetch: batches that are loaded ahead.
      threads: threads that load.
      split: the split that is trained on.
      on_changed_plan: "refuse" ends when the run folder was written by another plan, "continue" goes on by the new one.
    """

    on_long: Literal["truncate", "refuse", "drop"] = "truncate"
    on_bad_row: Literal["error", "skip"] = "error"
    max_draws: int = 8
    window: int = 8192
    pack: bool = True
    prefetch: int = 4
    threads: int = 1
    split: str = "train"
    on_changed_plan: Literal["refuse", "continue"] = "refuse"


@dataclass(frozen=True)
class CheckpointConfig:
    """Which checkpoints stay.

    Attributes:
      keep: how many of the latest.
      keep_best: how many of the best, by `best_metric`, of those that were scored.
      best_metric: "TASK/score", the score of one task of EVAL_MIXTURE, or "mean/score". That is the mean of all
        percentages but those under another task's instruction; where there is none, the mean of what is left, losses
        counted downwards, if all of it has one unit. Of unlike units there is no mean: then name a task.
      best_mode: whether the largest or the smallest is best.
    """

    keep: int = 3
    keep_best: int = 1
    best_metric: str = "mean/score"
    best_mode: Literal["max", "min"] = "max"


@dataclass(frozen=True)
class EvaluationConfig:
    """How a model is scored.

    Attributes:
      split: the split that is scored.
      max_examples: at most so many examples of each task.
      batch_size: examples scored at once.
      ranking: how answer options are compared: by the sum of their tokens' log-probabilities, the mean, or the sum less
        that of the option without its prompt.
      max_new_tokens: the longest answer that is generated; None: the length of the targets.
      num_beams: answers that are followed at once while one is generated; 1: the likeliest token each time.
      measure: what is scored: each task's own "metrics" (its loss where it has none), or the "loss" of every task.
      before: whether to score before the first step too.
    """

    split: str = "validation"
    max_examples: int = 200
    batch_size: int = 64
    ranking: Literal["sum", "mean", "unconditional"] = "sum"
    max_new_tokens: int | None = None
    num_beams: int = 1
    measure: Literal["metrics", "loss"] = "metrics"
    before: bool = False


@dataclass(frozen=True)
class RunConfig:
    """Everything a run is made of; each field that has a macro is described in `macros.MACROS`.

    Attributes:
      model_name: the word of MODEL; None: the model is that of `init_from`.
      modules: Python modules that register the user's tasks; imported in the child process that knows seqio.
      module_folders: folders in which `modules` are looked for, after everything that is installed.
      data_files: files of `--data`, trained on without a task module.
      data_fields: the columns of `data_files` that are inputs and targets, where rows are of no known kind.
      data_held_out: rows of each of `data_files` that are scored instead of trained on; None: a tenth, at most 50.
      bindings: the gin statements that were given beside the macros, imports among them.
      operative: the gin text of all that was bound, written to the run folder.
    """

    mixture: str = ""
    model_name: str | None = None
    init_from: str | None = None
    vocabulary: str | None = None
    form: Literal["auto", "plain", "chat"] = "auto"
    feature_lengths: dict[str, int] = field(default_factory=lambda: {"inputs": 512, "targets": 128})
    batch_size: int = 32
    microbatches: int = 1
    steps: int | None = None
    epochs: float | None = None
    mesh: dict[str, int] = field(default_factory=lambda: {"data": 1, "fsdp": -1})
    eval_mixture: str | None = None
    eval_period: int = 0
    save_period: int = 1000
    log_period: int = 100
    run_dir: str = ""
    store_dir: str = "runs/stores"
    seed: int = 0
    modules: tuple[str, ...] = ()
    module_folders: tuple[str, ...] = ()
    data_files: tuple[str, ...] = ()
    data_fields: dict[str, str] = field(default_factory=dict)
    data_held_out: int | None = None
    model: ModelConfig = ModelConfig()
    lora: LoraConfig = LoraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    data: DataConfig = DataConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    bindings: tuple[str, ...] = ()
    operative: str = ""


SECTIONS: dict[str, str] = {
    "Run": "",
    "Model": "model",
    "Lora": "lora",
    "Optimizer": "optimizer",
    "Loss": "loss",
    "Data": "data",
    "Checkpoints": "checkpoints",
    "Evaluation": "evaluation",
}

_LEAST: dict[str, float] = {
    "batch_size": 1,
    "microbatches": 1,
    "steps": 1,
    "eval_period": 0,
    "save_period": 0,
    "log_period": 1,
    "seed": 0,
    "data_held_out": 0,
    "data.max_draws": 1,
    "data.window": 1,
    "data.prefetch": 1,
    "data.threads": 1,
    "checkpoints.keep": 1,
    "checkpoints.keep_best": 0,
    "evaluation.max_examples": 1,
    "evaluation.batch_size": 1,
    "evaluation.max_new_tokens": 1,
    "evaluation.num_beams": 1,
}

# Beyond these no machine has the memory, or integers of the data's path run out; far beyond what anyone trains with.
_MOST_LENGTH = 1 << 22  # tokens of a row's inputs or targets: packing keeps tables of 32 bytes a token
_MOST_TOKENS = 1 << 31  # of a global batch: 28 bytes a token as it is loaded
_MOST_ROWS = 1 << 40  # of a run: an index entry has 48 bits for them, and the plan is exact up to 2^43 examples
_MOST: dict[str, float] = {
    "batch_size": 1 << 20,
    "steps": 2**31 - 1,  # the optimiser counts them in 32 bits
    "epochs": 1_000_000,  # each is planned, to know how many steps they are
    "seed": 2**63 - 1,  # JAX takes 64 bits with a sign
    "data.max_draws": 1 << 20,  # a store's key has 20 bits for the draw
    "data.window": 1 << 24,  # packing holds about 100 bytes an example
    "data.prefetch": 1024,
    "data.threads": 1024,
    "evaluation.batch_size": 1 << 20,
    "evaluation.max_new_tokens": _MOST_LENGTH,
    "evaluation.num_beams": 4096,
}


_MOST_WHOLE = 2**31 - 1  # of every other whole number: what JAX counts in


def _too_large(config: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Whole numbers that the arrays and counters behind their settings cannot hold, each with what was wanted."""
    faults, hints = [], typing.get_type_hints(type(config))
    for item in dataclasses.fields(config):
        value, path = getattr(config, item.name), f"{prefix}{item.name}"
        if dataclasses.is_dataclass(value) and dataclasses.is_dataclass(hints[item.name]):
            faults += _too_large(value, f"{path}.")
        elif (
            isinstance(value, int) and abs(value) > _MOST_WHOLE and path not in _MOST and hints[item.name] is not float
        ):
            faults.append((path, f"wanted a whole number up to {_MOST_WHOLE:,}, got {value:,}"))
    return faults


def setting(path: str) -> str:
    """What the user types to set a field: its macro, or its gin name.

    >>> setting("batch_size"), setting("optimizer.learning_rate"), setting("data.window")
    ('BATCH_SIZE', 'LEARNING_RATE', 'Data.window')
    """
    section, _, name = path.rpartition(".")
    gin_name = next(key for key, value in SECTIONS.items() if value == section) + f".{name}"
    return next((macro for macro, row in MACROS.items() if row.target == gin_name), gin_name)


def _get(config: RunConfig, path: str) -> Any:
    return functools.reduce(getattr, path.split("."), config)


def _range_faults(config: RunConfig, bad_types: Collection[str]) -> list[str]:
    faults = []
    for path, least in _LEAST.items():
        value = _get(config, path)
        if path not in bad_types and value is not None and value < least:
            faults.append(f"{setting(path)} is {value}, wanted {least:g} or more")
    for path, most in _MOST.items():
        value = _get(config, path)
        if path not in bad_types and value is not None and value > most:
            faults.append(f"{setting(path)} is {value:,}, wanted {most:,} or less")
    faults += _size_faults(config, bad_types)
    if "epochs" not in bad_types and config.epochs is not None and not config.epochs > 0:
        faults.append(f"EPOCHS is {config.epochs}, wanted more than 0")
    if "feature_lengths" not in bad_types and (
        set(config.feature_lengths) != {"inputs", "targets"} or min(config.feature_lengths.values()) < 1
    ):
        faults.append(
            f"FEATURE_LENGTHS is {config.feature_lengths}, wanted a length of 1 or more for 'inputs' and for 'targets'"
        )
    if "mesh" not in bad_types and (
        not config.mesh
        or any(size < 1 and size != -1 for size in config.mesh.values())
        or list(config.mesh.values()).count(-1) > 1
    ):
        faults.append(
            f"MESH is {config.mesh}, wanted a size of 1 or more for each axis, or -1 for one that takes the rest"
        )
    if "data_fields" not in bad_types and set(config.data_fields) - {"inputs", "targets"}:
        faults.append(f"--fields names {', '.join(config.data_fields)}, wanted inputs=COLUMN,targets=COLUMN")
    return faults


def _size_faults(config: RunConfig, bad_types: Collection[str]) -> list[str]:
    """Rows and batches that no memory holds, though the settings that make them up may each do."""
    lengths, batch_size, steps = config.feature_lengths, config.batch_size, config.steps
    if "feature_lengths" in bad_types or "batch_size" in bad_types:
        return []
    if max(lengths.values(), default=0) > _MOST_LENGTH:
        return [f"FEATURE_LENGTHS is {lengths}, wanted {_MOST_LENGTH:,} tokens or less for each"]
    tokens = batch_size * sum(lengths.values())
    if batch_size <= _MOST["batch_size"] and tokens > _MOST_TOKENS:
        made = f"BATCH_SIZE {batch_size:,} x FEATURE_LENGTHS {lengths} makes {tokens:,} tokens a step"
        return [f"{made}, wanted {_MOST_TOKENS:,} or less"]
    if "steps" not in bad_types and steps is not None and steps <= _MOST["steps"] and steps * batch_size > _MOST_ROWS:
        made = f"STEPS {steps:,} x BATCH_SIZE {batch_size:,} makes {steps * batch_size:,} rows"
        return [f"{made}, wanted {_MOST_ROWS:,} or less"]
    return []


def _section_faults(config: RunConfig, bad_types: Collection[str]) -> list[str]:
    """What the sections themselves find; those in `bad_types` are not asked."""
    faults = []
    asked = [getattr(config, name).check for name in ("model", "lora", "optimizer", "loss") if name not in bad_types]
    if config.lora.rank and not {"model", "lora"} & set(bad_types):
        asked.append(lambda: config.lora.modules(config.model))
        if config.init_from is None:
            faults.append(
                f"LORA is {config.lora.rank}, but INIT_FROM is not set: adapters stand beside a trained model; name "
                "its folder with --init_from, or leave --lora out"
            )
    schedule = config.optimizer.schedule
    for setting_name, function, args, kwargs in (
        ("Optimizer.factory", config.optimizer.factory, (), {"learning_rate": None}),
        ("Optimizer.schedule", schedule if callable(schedule) else None, (0.0, 1), {}),
        ("Loss.function", config.loss.function, (None, None), {}),
    ):
        section = SECTIONS[setting_name.partition(".")[0]]
        if function is not None and section not in bad_types:
            fault = signature_fault(setting_name, function, FORMS[setting_name], *args, **kwargs)
            faults += [fault] if fault else []
    for ask in asked:
        try:
            ask()
        except UserError as fault:
            faults += [one.rstrip(".") for one in fault.each()]
    return faults


def check(
    config: RunConfig,
    needs: Collection[str] = ("mixture", "length"),
    places: Mapping[str, str] | None = None,
    unknown: Collection[str] = (),
) -> None:
    """Refuses a configuration that cannot run, with all its faults at once.

    Args:
      config: what was resolved from files and flags.
      needs: what the command at hand cannot do without: "mixture", and "length" for STEPS or EPOCHS.
      places: where a setting was given, by its name; told with its fault.
      unknown: settings by their gin names whose values are not known yet; nothing is said of them.

    Raises:
      UserError: names every fault, each by the setting that mends it.
    """
    types = check_types(config)
    types += [fault for fault in _too_large(config) if fault[0] not in dict(types)]
    faults = []
    for path, fault in types:
        name = setting(path)
        at = (places or {}).get(name)
        faults.append(f"{name}{f' ({at})' if at and name not in at.upper() else ''}: {fault}")
    later = {".".join(filter(None, [SECTIONS[name.partition(".")[0]], name.partition(".")[2]])) for name in unknown}
    unclear = {path for path, _ in types} | later
    faults += _range_faults(config, unclear)
    if "mixture" in needs and config.mixture == "" and "mixture" not in later:
        faults.append("MIXTURE is not set: say what to train on, with --mixture NAME, --data FILE or a gin file")
    if "length" in needs and config.steps is None and config.epochs is None and not later & {"steps", "epochs"}:
        faults.append("neither STEPS nor EPOCHS is set: say how long to train, with --steps or --epochs")
    if config.steps is not None and config.epochs is not None:
        faults.append("both STEPS and EPOCHS are set: keep one")
    faults += _section_faults(config, {path.partition(".")[0] for path in unclear})
    if faults:
        raise UserError(together(faults, many="{} settings need mending:"))


def to_json(config: RunConfig) -> str:
    """Writes the resolved configuration as JSON, functions by their qualified names.

    Args:
      config: any configuration.

    Returns:
      Text that `from_json` reads back. `operative` is not in it: it is a file of its own.
    """
    return json.dumps(to_plain(dataclasses.replace(config, operative="")), indent=2) + "\n"


def from_json(text: str, name: str = CONFIG_FILE) -> RunConfig:
    """Reads a configuration back that `to_json` wrote.

    Args:
      text: the JSON.
      name: what to call it in an error.

    Returns:
      The configuration. Settings that the text lacks keep their defaults.

    Raises:
      UserError: not a configuration of ours, or one with settings that are not known here.
    """
    try:
        saved = json.loads(text)
    except (ValueError, RecursionError):
        saved = None
    if not isinstance(saved, dict) or not {"mixture", "feature_lengths", "model"} <= set(saved):
        raise UserError(f"{name} does not hold the configuration of a flan-jax run")

    def build(base: Any, values: Any, prefix: str) -> Any:
        if not isinstance(values, Mapping):
            raise UserError(f"{name} is damaged: {prefix.rstrip('.')} is {values!r}, wanted its settings")
        known = {item.name for item in dataclasses.fields(base)}
        for key in values:
            if key not in known:
                raise UserError(
                    f"{name} has a setting {prefix + key!r} that this version does not know{nearest(key, known)}"
                )
        nested = {key for key in values if dataclasses.is_dataclass(getattr(base, key))}
        changes = {key: from_plain(value) for key, value in values.items() if key not in nested}
        return conform(base, changes | {key: build(getattr(base, key), values[key], f"{key}.") for key in nested})

    try:
        config = typing.cast(RunConfig, build(RunConfig(), saved, ""))
    except UserError as fault:
        raise UserError(str(fault) if name in str(fault) else f"{name} is damaged: {fault}") from None
    if faults := check_types(config):
        raise UserError(together([f"{setting(path)}: {fault}" for path, fault in faults], f"{name} is damaged"))
    return config


def load_run(run_dir: str | Path) -> RunConfig:
    """Reads the configuration of a run from its folder.

    Args:
      run_dir: the folder, or one within it (of a checkpoint, say).

    Returns:
      The configuration, its `run_dir` being where the folder is now.

    Raises:
      UserError: no run is there.
    """
    folder = Path(run_dir)
    for place in (folder, *list(folder.parents)[:2]) if folder.is_dir() else ():
        if (place / CONFIG_FILE).is_file():
            text = read_text(place / CONFIG_FILE, "the configuration of a run")
            return dataclasses.replace(from_json(text, str(place / CONFIG_FILE)), run_dir=str(place))
    what = f"no {CONFIG_FILE} is in it" if folder.is_dir() else "there is no such folder"
    raise UserError(f"no run in {str(run_dir)!r}: {what}; name the folder of a run with --run_dir")


def write_equivalent(config: RunConfig, folder: str | Path, vocabulary: str = "starter") -> tuple[Path, Path]:
    """Writes the gin file and the task module that mean the same as `--data FILE`.

    Args:
      config: a configuration with `data_files`.
      folder: where `user_data.gin` and `user_data_task.py` go; made where it is missing.
      vocabulary: the vocabulary of the tasks.

    Returns:
      The two files.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    how = f", fields={config.data_fields!r}" if config.data_fields else ""
    how += f", vocabulary={vocabulary!r}, validation_rows={config.data_held_out}"
    files = [filesystem.absolute(name) for name in config.data_files]
    lines = ['"""The task that `flan-jax train --data` trained on."""', ""]
    if len(files) == 1:
        lines += ["from flan_jax.tasks import task_from_file", ""]
        lines += [f"task_from_file({files[0]!r}, {USER_MIXTURE!r}{how}).register()"]
    else:
        lines += ["from flan_jax.tasks import mixture, task_from_file", "", "FILES = ["]
        lines += [f"    {name!r}," for name in files]
        lines += ["]", f'NAMES = [f"{USER_MIXTURE}_{{i}}" for i in range(len(FILES))]', ""]
        lines += ["for name, file in zip(NAMES, FILES, strict=True):"]
        lines += [f"    task_from_file(file, name{how}).register()", f"mixture({USER_MIXTURE!r}, NAMES)"]
    module = folder / f"{USER_MIXTURE}_task.py"
    module.write_text("\n".join(lines) + "\n", encoding="utf-8")

    defaults = RunConfig()
    statements = ["# What `flan-jax train --data` ran, as a gin file:", "#   flan-jax train --gin_file=THIS_FILE", ""]
    for name, row in MACROS.items():
        section, _, key = row.target.partition(".")
        path = f"{SECTIONS[section]}.{key}".lstrip(".")
        value = _get(config, path)
        if value != _get(defaults, path):
            statements.append(f"{name} = {value!r}")
    modules = (*config.modules, module.stem)
    scored, plain = dataclasses.asdict(config.evaluation), dataclasses.asdict(defaults.evaluation)
    beneath = [f"Evaluation.{key} = {value!r}" for key, value in scored.items() if value != plain[key]]
    statements += ["", f"Run.modules = {modules!r}", *beneath, *config.bindings]
    gin_file = folder / f"{USER_MIXTURE}.gin"
    gin_file.write_text("\n".join(statements) + "\n", encoding="utf-8")
    return gin_file, module
