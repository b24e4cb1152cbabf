"""Stages of a run in gin text: which statements hold for which of them, and whether they make one run.

    STAGES = ("tasks", "chat")
    STEPS = 500                       holds for every stage
    chat/MIXTURE = "starter_chats"    holds for one
    chat/Optimizer.schedule = "linear"

Each stage becomes an ordinary run in a folder of its own within RUN_DIR, 1-tasks and 2-chat, which starts from the one
before it. Of two statements the one of higher rank wins, as everywhere (files, `--gin.`, plain flags); within a rank
that of the stage does.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax.config.gin_statements import PLAIN_FLAGS, UNDER_FILES, Binding, Reference, Statements
from flan_jax.config.macros import SECTIONS
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError, counted, nearest, together
from flan_jax.models.lora_config import LoraConfig
from flan_jax.models.shape_config import ShapeConfig
from flan_jax.names import names_in

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")  # as gin takes a scope, and any file system a folder
_OF_ALL = ("STAGES", "SWEEP", "RUN_DIR")
_OF_LATER = ("Run.carry", "Replay.mixture", "Replay.fraction")
_STARTS = ("INIT_FROM", "Lora.init_from")
_LENGTHS = {"STEPS": "EPOCHS", "EPOCHS": "STEPS"}
_SAME_ADAPTERS = {"rank": "LORA", "alpha": "Lora.alpha", "rs_lora": "Lora.rs_lora", "targets": "Lora.targets"}


def value_in(statements: Statements, name: str, default: Any = None) -> Any:
    """The value that statements give a setting; a macro's where they give that, and `default` where none does."""
    final, seen = statements.final(), {name}
    if name not in final:
        return default
    value = final[name].value
    while isinstance(value, Reference) and value.macro and value.name in final and value.name not in seen:
        seen.add(value.name)
        value = final[value.name].value
    return value


def names_of(statements: Statements) -> tuple[str, ...]:
    """The names of the stages, in order; none for an ordinary run.

    Raises:
      UserError: they are no names, one stands there twice, or there is only one.
    """
    given = value_in(statements, "STAGES")
    if given in (None, (), []):
        return ()
    place = statements.final()["STAGES"].place
    if not isinstance(given, tuple | list) or not all(isinstance(name, str) for name in given):
        raise UserError(f'{place}: STAGES is {given!r}, wanted names in quotes: STAGES = ("tasks", "chat")')
    faults = [
        f"{place}: STAGES has {name!r}, wanted a name of letters, digits and _ that begins with a letter"
        for name in given
        if not _NAME.fullmatch(name)
    ]
    twice = dict.fromkeys(name for number, name in enumerate(given) if name in given[:number])
    faults += [f"{place}: STAGES names {name!r} more than once; give each stage a name of its own" for name in twice]
    if len(given) == 1:
        faults.append(
            f"{place}: STAGES names {given[0]!r} alone; name two stages or more, or leave STAGES and the "
            f"{given[0]}/ before settings out"
        )
    if faults:
        raise UserError(together(faults))
    return tuple(given)


def split(statements: Statements, names: Sequence[str]) -> list[Statements]:
    """What holds for each stage, without scopes; what the first starts from stands in all, as it says the model.

    Args:
      statements: of all stages.
      names: the stages.

    Raises:
      UserError: a setting of no stage, or one that no stage has to itself.
    """
    if faults := [*statements.faults, *(fault for one in statements.bindings for fault in _scope_faults(one, names))]:
        raise UserError(together(list(dict.fromkeys(faults))))
    whole = [one for one in statements.bindings if one.name not in ("STAGES", "SWEEP")]
    stages = []
    for number, name in enumerate(names):
        own = [_unscoped(one) for one in whole if one.scope.partition("/")[0] == name]
        shared = [one for one in whole if one.scope.partition("/")[0] not in names]
        if not number:  # it has no stage before it, of which it could carry or replay anything
            shared = [one for one in shared if one.setting not in _OF_LATER]
        shared = [one for one in shared if not _is_outdone(one, own)]
        stages.append(Statements([*shared, *own], list(statements.imports), [], list(statements.folders)))
    starts = [one for one in stages[0].bindings if one.name in _STARTS]
    for stage in stages[1:]:
        stage.bindings[:] = [*(one for one in stage.bindings if one.name not in _STARTS), *starts]
    return stages


def _is_outdone(shared: Binding, own: Sequence[Binding]) -> bool:
    """Whether a length for all stages gives way to the other kind of length, which a stage has itself."""
    return any(_LENGTHS.get(one.name) == shared.name and one.rank >= shared.rank for one in own)


def _unscoped(binding: Binding) -> Binding:
    return dataclasses.replace(binding, scope=binding.scope.partition("/")[2])


def _scope_faults(binding: Binding, names: Sequence[str]) -> list[str]:
    """What is wrong with the name of a stage before a setting; scopes of the user's own functions are gin's."""
    stage, _, rest = binding.scope.partition("/")
    setting = binding.selector if not binding.parameter else f"{binding.section}.{binding.parameter}"
    ours = not binding.parameter or binding.section in SECTIONS
    if not stage or not (ours or stage in names):
        return []
    if stage not in names:
        known = f"STAGES are {', '.join(names)}{nearest(stage, names)}"
        return [f"{binding.place}: {binding.name!r} is of no stage: {known}"]
    if rest and ours:
        return [f"{binding.place}: {binding.name!r} has a scope within the stage, which nothing reads"]
    if setting in _OF_ALL:
        return [f"{binding.place}: {setting} is of all stages; write it without {stage}/"]
    if setting in _STARTS and stage != names[0]:
        before = names[names.index(stage) - 1]
        return [f"{binding.place}: stage {stage!r} starts from {before!r}, the one before it; leave {setting} out"]
    return []


def scored_alike(stages: Sequence[Statements]) -> None:
    """Lets every stage be scored on what any is, and the first one before its first step too."""
    given = [value_in(stage, "EVAL_MIXTURE") for stage in stages]
    every = list(dict.fromkeys(name for text in given if isinstance(text, str) for name in names_in(text)))
    if not every:
        return
    for stage in stages:
        stage.bindings.append(Binding("EVAL_MIXTURE", "", ",".join(every), "", "STAGES", PLAIN_FLAGS))
    stages[0].bindings.insert(0, Binding("Evaluation", "before", True, "", "STAGES", UNDER_FILES))


def in_folders(stages: Sequence[Statements], names: Sequence[str], run_dir: str) -> list[str]:
    """Gives each stage its folder within RUN_DIR; returns them."""
    folders = [f"{run_dir}/{number}-{name}" for number, name in enumerate(names, 1)]
    for stage, folder in zip(stages, folders, strict=True):
        stage.bindings.append(Binding("RUN_DIR", "", folder, "", "STAGES", PLAIN_FLAGS))
    return folders


def replaying(stage: Statements, before: Sequence[RunConfig]) -> None:
    """Lets a stage that replays, and does not say what, replay all that the stages before it train on.

    Raises:
      UserError: it is the first.
    """
    if value_in(stage, "REPLAY_FRACTION", 0.0) == 0 or value_in(stage, "REPLAY") is not None:
        return
    if not before:
        raise UserError("REPLAY_FRACTION is set, and there is no stage before it to replay; name what in REPLAY")
    every = dict.fromkeys(name for config in before for name in names_in(config.mixture))
    stage.bindings.append(Binding("REPLAY", "", ",".join(every), "", "STAGES", PLAIN_FLAGS))


def start_of(stage: Statements, before: Statements, config: RunConfig) -> list[Binding]:
    """What says that a stage starts from the one before.

    After a stage of adapters, a stage of the same adapters goes on with them beside the same base; any other starts
    from the model with them folded in.

    Args:
      stage: what holds for the stage.
      before: what holds for the one before.
      config: the one before, resolved.
    """
    goes_on = bool(config.lora) and _adapters(stage) == _adapters(before)
    init_from = config.init_from if goes_on else config.run_dir
    adapter = config.run_dir if goes_on else None
    starts = [Binding("INIT_FROM", "", init_from, "", "STAGES", PLAIN_FLAGS)]
    if adapter or any(one.name == "Lora.init_from" for one in stage.bindings):
        starts.append(Binding("Lora", "init_from", adapter, "", "STAGES", PLAIN_FLAGS))
    return starts


def _adapters(stage: Statements) -> Any:
    """What makes adapters the same ones."""
    found = {field: value_in(stage, name, getattr(LoraConfig(), field)) for field, name in _SAME_ADAPTERS.items()}
    try:
        lora = LoraConfig(**found)
        return (lora.rank, lora.effective_alpha, lora.rs_lora, sorted(lora.words)) if lora else (0,)
    except (TypeError, AttributeError, ValueError):  # a value that its own check refuses
        return found


def faults_between(names: Sequence[str], configs: Sequence[RunConfig]) -> list[str]:
    """Where stages do not make one run: another model or vocabulary, or an optimiser that cannot be carried over."""
    faults: list[str] = []
    for number, (name, config) in enumerate(zip(names[1:], configs[1:], strict=True)):
        first, before = configs[0], configs[number]
        told = "one model goes through all stages; set it without a stage's name"
        for setting, field in (("VOCABULARY", "vocabulary"), ("SPECIAL_TOKENS", "special_tokens")):
            was, now = getattr(first, field), getattr(config, field)
            if was != now:
                faults.append(f"stage {name!r} has {setting} {now!r}, stage {names[0]!r} has {was!r}: {told}")
        if other := _other_shape(first, config):
            faults.append(f"stage {name!r} has another model than stage {names[0]!r} ({other}): {told}")
        if "optimizer" in config.carry and (unlike := _unlike_optimisers(before, config)):
            faults.append(
                f"stage {name!r} carries the optimiser of {names[number]!r} over (Run.carry), which is another one: "
                f"{unlike}; make them alike, or leave it out of Run.carry"
            )
    return faults


def _other_shape(first: RunConfig, config: RunConfig) -> str:
    """What of a model's shape differs; dropout is no part of it."""
    fields = [item.name for item in dataclasses.fields(ShapeConfig) if item.name != "dropout_rate"]
    pairs = [(name, getattr(first.model, name), getattr(config.model, name)) for name in fields]
    differ = [f"{name} {now!r}, {was!r} there" for name, was, now in pairs if was != now]
    return ", ".join(differ[:3]) + (f" and {counted(len(differ) - 3, 'other setting')}" if len(differ) > 3 else "")


def _unlike_optimisers(before: RunConfig, config: RunConfig) -> str:
    """What keeps statistics of one stage from being those of the next, as far as settings tell."""
    was, now = before.optimizer, config.optimizer
    unlike = [
        f"Optimizer.{name} is {getattr(now, name)!r}, was {getattr(was, name)!r}"
        for name in ("name", "factory")
        if getattr(now, name) != getattr(was, name)
    ]
    if bool(before.lora) != bool(config.lora) or (config.lora and not config.lora.init_from):
        unlike.append(f"LORA is {config.lora.rank}, was {before.lora.rank}, and other parameters are trained")
    return ", ".join(unlike)


def together_by_stage(found: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    """Faults of all stages, each with its stage; one that every stage has is told once.

    Args:
      found: the faults of each stage that has some.
      names: all stages.
    """
    everywhere = [fault for fault in found.get(names[0], ()) if all(fault in found.get(name, ()) for name in names)]
    own = [f"stage {name!r}: {fault}" for name in names for fault in found.get(name, ()) if fault not in everywhere]
    return [*everywhere, *own]
