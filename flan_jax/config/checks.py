"""What is wrong with a configuration: every check gives its faults, and all of them are told at once.

A fault is a sentence that opens with the setting that mends it. A setting of a wrong type is told by that alone: the
other checks leave its `path` out.
"""

import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from flan_jax.annotations import check_types, walk
from flan_jax.config.macros import SECTIONS, path_of, setting
from flan_jax.config.named_functions import signature_fault
from flan_jax.config.run_config import RunConfig, value_of
from flan_jax.config.training_settings import FORMS
from flan_jax.data.mixing_config import is_off, shares_faults
from flan_jax.errors import UserError, together
from flan_jax.files import filesystem
from flan_jax.text.vocabulary_names import NAMES

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
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_WHOLE = 2**31 - 1  # of every other whole number: what JAX counts in


def check(config: RunConfig, needs: Collection[str] = ("mixture", "length")) -> None:
    """Refuses a configuration that cannot run; see `faults_of`.

    Raises:
      UserError: names every fault.
    """
    refuse(faults_of(config, needs))


def refuse(faults: Sequence[str]) -> None:
    """Tells faults of settings all at once.

    Raises:
      UserError: there is one or more.
    """
    if faults:
        raise UserError(together(faults, many="{} settings need mending:"))


def faults_of(
    config: RunConfig,
    needs: Collection[str] = ("mixture", "length"),
    places: Mapping[str, str] | None = None,
    unknown: Collection[str] = (),
) -> list[str]:
    """What is wrong with a configuration, each fault told by the setting that mends it.

    Args:
      config: what was resolved from files and flags.
      needs: what the command at hand cannot do without: "mixture", and "length" for STEPS or EPOCHS.
      places: where a setting was given, by its name; told with its fault.
      unknown: settings by their gin names whose values are not known yet; nothing is said of them.
    """
    mistyped = _mistyped(config)
    later = {path_of(name) for name in unknown}
    unclear = {*mistyped, *later}
    faults = _type_faults(mistyped, places or {})
    faults += _range_faults(config, unclear)
    faults += _size_faults(config, unclear)
    faults += _shape_faults(config, unclear)
    faults += _extension_faults(config, unclear)
    faults += _needed_faults(config, needs, later)
    if config.carry and config.init_from is None and "init_from" not in later:
        faults.append(f"Run.carry is {config.carry}, but INIT_FROM names no run that it could be carried over from")
    faults += _section_faults(config, {path.partition(".")[0] for path in unclear})
    return faults


def _mistyped(config: RunConfig) -> dict[str, str]:
    """The fields whose values no annotation or no counter takes, each with what was wanted."""
    too_large = {
        path: f"wanted a whole number up to {_MOST_WHOLE:,}, got {value:,}"
        for path, value, hint in walk(config)
        if isinstance(value, int) and abs(value) > _MOST_WHOLE and path not in _MOST and hint is not float
    }
    mistyped = dict(check_types(config))
    return mistyped | {path: fault for path, fault in too_large.items() if path not in mistyped}


def _type_faults(mistyped: Mapping[str, str], places: Mapping[str, str]) -> list[str]:
    faults = []
    for path, fault in mistyped.items():
        name = setting(path)
        at = places.get(name)
        faults.append(f"{name}{f' ({at})' if at and name not in at.upper() else ''}: {fault}")
    return faults


def _needed_faults(config: RunConfig, needs: Collection[str], later: Collection[str]) -> list[str]:
    """What the command cannot do without; `later` are paths that a call is still to set."""
    faults = []
    if "mixture" in needs and config.mixture == "" and "mixture" not in later:
        faults.append("MIXTURE is not set: say what to train on, with --mixture NAME, --data FILE or a gin file")
    if "length" in needs and config.steps is None and config.epochs is None and not {"steps", "epochs"} & set(later):
        faults.append("neither STEPS nor EPOCHS is set: say how long to train, with --steps or --epochs")
    if "vocabulary" in needs and "vocabulary" not in later and not _has_vocabulary(config):
        faults.append(
            f"VOCABULARY is {config.vocabulary!r}, and there is no such file; wanted a SentencePiece model (`flan-jax "
            "vocab` makes one), a Hugging Face folder or one of " + ", ".join(map(repr, NAMES))
        )
    if config.steps is not None and config.epochs is not None:
        faults.append("both STEPS and EPOCHS are set: keep one")
    return faults


def _has_vocabulary(config: RunConfig) -> bool:
    """Whether VOCABULARY is there, or the run keeps it; what is at an address, or of another type, is told later."""
    name = config.vocabulary
    if not isinstance(name, str) or name in NAMES or filesystem.is_remote(name) or os.path.exists(name):
        return True
    return os.path.exists(os.path.join(str(config.run_dir), "vocabulary.json"))


def _range_faults(config: RunConfig, unclear: Collection[str]) -> list[str]:
    faults = []
    for path, least in _LEAST.items():
        value = value_of(config, path)
        if path not in unclear and value is not None and value < least:
            faults.append(f"{setting(path)} is {value}, wanted {least:g} or more")
    for path, most in _MOST.items():
        value = value_of(config, path)
        if path not in unclear and value is not None and value > most:
            faults.append(f"{setting(path)} is {value:,}, wanted {most:,} or less")
    return faults


def _size_faults(config: RunConfig, unclear: Collection[str]) -> list[str]:
    """Rows and batches that no memory holds, though the settings that make them up may each do."""
    lengths, batch_size, steps = config.feature_lengths, config.batch_size, config.steps
    if "feature_lengths" in unclear or "batch_size" in unclear:
        return []
    if max(lengths.values(), default=0) > _MOST_LENGTH:
        return [f"FEATURE_LENGTHS is {lengths}, wanted {_MOST_LENGTH:,} tokens or less for each"]
    tokens = batch_size * sum(lengths.values())
    if batch_size <= _MOST["batch_size"] and tokens > _MOST_TOKENS:
        made = f"BATCH_SIZE {batch_size:,} x FEATURE_LENGTHS {lengths} makes {tokens:,} tokens a step"
        return [f"{made}, wanted {_MOST_TOKENS:,} or less"]
    if "steps" not in unclear and steps is not None and steps <= _MOST["steps"] and steps * batch_size > _MOST_ROWS:
        made = f"STEPS {steps:,} x BATCH_SIZE {batch_size:,} makes {steps * batch_size:,} rows"
        return [f"{made}, wanted {_MOST_ROWS:,} or less"]
    return []


def _shape_faults(config: RunConfig, unclear: Collection[str]) -> list[str]:
    """Numbers and dicts that are of the right type, but of no use."""
    faults = []
    if "epochs" not in unclear and config.epochs is not None and not config.epochs > 0:
        faults.append(f"EPOCHS is {config.epochs}, wanted more than 0")
    if "feature_lengths" not in unclear and (
        set(config.feature_lengths) != {"inputs", "targets"} or min(config.feature_lengths.values()) < 1
    ):
        faults.append(
            f"FEATURE_LENGTHS is {config.feature_lengths}, wanted a length of 1 or more for 'inputs' and for 'targets'"
        )
    if "mesh" not in unclear and (
        not config.mesh
        or any(size < 1 and size != -1 for size in config.mesh.values())
        or list(config.mesh.values()).count(-1) > 1
    ):
        faults.append(
            f"MESH is {config.mesh}, wanted a size of 1 or more for each axis, or -1 for one that takes the rest"
        )
    if "data_fields" not in unclear and set(config.data_fields) - {"inputs", "targets"}:
        faults.append(f"--fields names {', '.join(config.data_fields)}, wanted inputs=COLUMN,targets=COLUMN")
    return faults


def _extension_faults(config: RunConfig, unclear: Collection[str]) -> list[str]:
    """What cannot be added to a tokenizer."""
    faults = []
    tokens = () if "special_tokens" in unclear else config.special_tokens
    if any(not token.strip() for token in tokens):
        faults.append(f"SPECIAL_TOKENS is {tokens}, wanted no empty text among them")
    if twice := [token for number, token in enumerate(tokens) if token in tokens[:number]]:
        faults.append(
            f"SPECIAL_TOKENS names {', '.join(map(repr, dict.fromkeys(twice)))} more than once; keep one each"
        )
    if broken := [token for token in tokens if _SURROGATE.search(token)]:
        faults.append(f"SPECIAL_TOKENS holds half of a pair of UTF-16, which is no text: {ascii(broken[0])}")
    if not {"chat_template", "form"} & set(unclear) and config.chat_template is not None and config.form == "plain":
        faults.append("CHAT_TEMPLATE is set and FORM is 'plain', which writes by no template; leave one of both out")
    return faults


def _section_faults(config: RunConfig, unclear: Collection[str]) -> list[str]:
    """What the sections themselves find; those in `unclear` are not asked."""
    faults = []
    adapters = config.lora.rank and not {"model", "lora"} & set(unclear)
    if adapters and config.init_from is None:
        faults.append(
            f"LORA is {config.lora.rank}, but INIT_FROM is not set: adapters stand beside a trained model; name "
            "its folder with --init_from, or leave --lora out"
        )
    faults += _function_faults(config, unclear)
    for section in ("model", "lora"):
        faults += _raised(getattr(config, section).check) if section not in unclear else []
    faults += [f"Optimizer: {fault}" for fault in config.optimizer.faults()] if "optimizer" not in unclear else []
    if "hygiene" not in unclear:
        faults += [f"Hygiene: {fault}" for fault in config.hygiene.faults()]
        if config.hygiene.contamination != "keep" and not config.hygiene.against and not config.eval_mixture:
            faults.append(
                f"Hygiene.contamination is {config.hygiene.contamination!r}, and neither EVAL_MIXTURE nor "
                f"Hygiene.against names what training data are to be kept apart from"
            )
    faults += [f"Loss: {fault}" for fault in config.loss.faults()] if "loss" not in unclear else []
    if not {"loss", "model"} & set(unclear) and config.loss.prompt_weight and config.model.architecture != "decoder":
        faults.append(
            f"Loss.prompt_weight is {config.loss.prompt_weight}, and Model.architecture is "
            f"{config.model.architecture!r}, whose encoder predicts nothing of what it reads; set it to 0, or set "
            "MODEL to a decoder (--model llama_1b.gin)"
        )
    for name, section in SECTIONS.items():
        if section in ("augment", "balance", "pretraining", "replay", "curriculum", "distillation", "stopping"):
            found = getattr(config, section).faults() if section not in unclear else []
            faults += [f"{name}: {fault}" for fault in found]
    if not {"curriculum", "epochs"} & set(unclear) and config.curriculum.tasks and config.epochs is not None:
        faults.append(
            "Curriculum.tasks join when a part of the run is done, and with EPOCHS its length depends on when they do; "
            "give STEPS in the place of EPOCHS"
        )
    if not {"stopping", "checkpoints", "eval_period", "eval_mixture"} & set(unclear):
        faults += _stopping_faults(config)
    faults += _raised(lambda: config.lora.modules(config.model)) if adapters else []
    if not {"pretraining", "replay"} & set(unclear):
        faults += shares_faults(config.pretraining, config.replay)
    if not {"pretraining", "feature_lengths", "model"} & set(unclear):
        faults += _text_faults(config)
    if not {"pretraining", "replay", "curriculum", "distillation"} & set(unclear):
        faults += _rows_faults(config)
    return faults


def _stopping_faults(config: RunConfig) -> list[str]:
    """What keeps a run from being ended by its scores."""
    stopping, best = config.stopping, config.checkpoints
    if stopping.metric is None:
        return []
    faults = []
    if not (config.eval_mixture and config.eval_period):
        faults.append(
            f"Stopping.metric is {stopping.metric!r}, but nothing is scored on the way: EVAL_MIXTURE is "
            f"{config.eval_mixture!r}, EVAL_PERIOD {config.eval_period}; set both, or leave Stopping.metric out"
        )
    if best.keep_best and stopping.metric == best.best_metric and stopping.mode != best.best_mode:
        faults.append(
            f"Stopping.mode is {stopping.mode!r} and Checkpoints.best_mode {best.best_mode!r}, of the same metric "
            f"{stopping.metric!r}; make them one"
        )
    return faults


def _text_faults(config: RunConfig) -> list[str]:
    """Plain text whose examples would not fit into their rows."""
    lengths, rows = config.pretraining.lengths, config.pretraining.rows or config.feature_lengths
    if lengths is None or config.pretraining.faults() or set(rows) != set(lengths):
        return []
    ours, theirs = lengths, rows
    if config.model.architecture == "decoder":  # inputs and targets follow each other in a row
        ours, theirs = {"": sum(lengths.values())}, {"": sum(rows.values())}
    if all(ours[name] <= theirs[name] for name in ours):
        return []
    setting = "FEATURE_LENGTHS" if config.pretraining.rows is None else "Pretraining.rows"
    return [f"Pretraining.lengths is {lengths}, wanted no more than rows of {setting} {rows} hold"]


def _rows_faults(config: RunConfig) -> list[str]:
    """What does not go together with rows of their own for plain text."""
    rows = config.pretraining.rows
    if config.pretraining.faults() or not config.pretraining.apart or rows is None:
        return []
    faults, said = [], f"Pretraining.rows is {rows}"
    if max(rows.values()) > _MOST_LENGTH:
        faults.append(f"{said}, wanted {_MOST_LENGTH:,} tokens or less for each")
    if (tokens := (config.pretraining.batch_size or 0) * sum(rows.values())) > _MOST_TOKENS:
        made = f"Pretraining.batch_size {config.pretraining.batch_size:,} x Pretraining.rows {rows} makes {tokens:,}"
        faults.append(f"{made} tokens a step, wanted {_MOST_TOKENS:,} or less")
    if config.curriculum.orders:
        faults.append(f"{said}, and Curriculum puts the tasks of one kind of rows in order; leave one of both out")
    if config.distillation:
        faults.append(f"{said}, and Distillation.teacher reads one kind of rows; leave one of both out")
    if not is_off(config.replay.fraction) and not all(
        isinstance(share, int | float) for share in (config.pretraining.fraction, config.replay.fraction)
    ):
        faults.append(
            f"{said}, and PRETRAINING_FRACTION {config.pretraining.fraction} and REPLAY_FRACTION "
            f"{config.replay.fraction} are wanted as numbers then; make them that, or leave Pretraining.rows out"
        )
    return faults


def _function_faults(config: RunConfig, unclear: Collection[str]) -> list[str]:
    """Functions of the user's that cannot be called as they will be."""
    schedule = config.optimizer.schedule
    faults = []
    for name, function, args, kwargs in (
        ("Optimizer.factory", config.optimizer.factory, (), {"learning_rate": None}),
        ("Optimizer.schedule", schedule if callable(schedule) else None, (0.0, 1), {}),
        ("Loss.function", config.loss.function, (None, None), {}),
    ):
        if function is not None and SECTIONS[name.partition(".")[0]] not in unclear:
            faults.append(signature_fault(name, function, FORMS[name], *args, **kwargs))
    return [fault for fault in faults if fault]


def _raised(ask: Callable[[], Any]) -> list[str]:
    """The faults of a section that raises them."""
    try:
        ask()
    except UserError as fault:
        return [one.rstrip(".") for one in fault.each()]
    return []
