"""What stands in a run's folder, and what has to agree with it when the run goes on.

config.json  operative.gin  versions.json    what was asked for, and what ran it
plan.json    rows-*.index                    what it trains on
vocabulary.json  vocabulary.model            text to ids, without the tasks
hugging_face/                                config.json and tokenizer of the folder that the model came from
checkpoints/                                 Orbax
metrics.jsonl  events.out.tfevents.*         curves
scores/step-*.json  results.json             evals, and the final table
samples/                                     what it was asked in evals and what it said; see `evaluation.samples`
eval.json                                    the table of the last `flan-jax eval`
run.lock                                     who trains in it; see `run_lock`
"""

import dataclasses
import importlib.metadata
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any

from flan_jax.annotations import fits, misfit
from flan_jax.config.kept import CONFIG_FILE, STAGES_FILE, load_run, to_json, write_equivalent
from flan_jax.config.macros import setting
from flan_jax.config.named_functions import to_plain
from flan_jax.config.run_config import RunConfig, value_of
from flan_jax.data import part_shares
from flan_jax.data.planning import plan as plans
from flan_jax.errors import UserError, counted
from flan_jax.files import atomic
from flan_jax.models.hugging_face import originals
from flan_jax.run_data import Data
from flan_jax.setup import vocabulary_of
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text import sentencepiece_folder
from flan_jax.text.chat_templates import ChatTemplate
from flan_jax.text.tokenizer_folder import TokenizerFolder

_PACKAGES = ("flan-jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "numba", "seqio", "tensorflow")


class RunFolder:
    """A run's folder.

    Args:
      path: made if it is not there.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        if (self.path / STAGES_FILE).exists():
            raise UserError(f"RUN_DIR {self.path} is the folder of a run of stages; set --run_dir elsewhere")
        try:
            (self.path / "scores").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"RUN_DIR {self.path} cannot be made: {error.strerror}; set --run_dir elsewhere") from None

    @property
    def checkpoints(self) -> pathlib.Path:
        """Where Orbax keeps the checkpoints."""
        return self.path / "checkpoints"

    def earlier(self) -> RunConfig | None:
        """The configuration that this folder was last run with."""
        return load_run(self.path) if (self.path / CONFIG_FILE).exists() else None

    def check_plan(self, config: RunConfig, data: Data) -> list[str]:
        """Compares the plan, and how steps cut it, with what the folder was written by.

        Returns:
          What differs, in words; empty for a new folder.

        Raises:
          UserError: something differs and `Data.on_changed_plan` is "refuse".
        """
        try:
            old = read_plan(self.path)
        except FileNotFoundError:
            return []
        said = plans.differences(old["plan"], data.plan.describe())
        said += _changed_lanes(old.get("lanes"), data.lanes.describe() if data.lanes else None)
        if old["table"]["batch_size"] != config.batch_size:
            said.append(f"BATCH_SIZE was {old['table']['batch_size']}, is {config.batch_size}")
        said += _changed_weights(self.earlier(), config)
        if old.get("teacher") != (data.teacher and data.teacher.key):
            said.append("what the teacher thinks of the examples is another's, of other parameters or another top_k")
        said += _because_of_length(old, config, data) if said else []
        if said and config.data.on_changed_plan == "refuse":
            more = f" and {len(said) - 6} more" if len(said) > 6 else ""
            raise UserError(
                f"{self.path} was trained by another plan: {'; '.join(said[:6])}{more}. Undo that, take another "
                f"--run_dir, or go on by the new plan with --gin.Data.on_changed_plan=\"'continue'\""
            )
        return said

    def write(self, config: RunConfig, data: Data, table: dict[str, Any]) -> None:
        """Keeps what was asked for, the plan, the vocabulary and the versions."""
        for folder in (self.path, self.path / "scores"):
            atomic.remove_partial(folder)
        if config.data_files:
            write_equivalent(config, self.path, vocabulary_of(config))
        atomic.write_text(self.path / CONFIG_FILE, to_json(config))
        atomic.write_text(self.path / "operative.gin", config.operative or "# no gin file and no bindings were given\n")
        asked = {(task["prompt_format"], task["prompt_eos"]) for task in _asking(data)}
        plan: dict[str, Any] = {"plan": data.plan.describe(), "folders": data.reader.folders, "table": table}
        if any(data.reader.selections):
            plan["selections"] = data.reader.selections
        if data.lanes is not None:
            plan["lanes"] = data.lanes.describe()
        if data.teacher is not None:
            plan["teacher"] = data.teacher.key
        # Where every task is a chat of one form, a bare prompt is put in that form when the run is asked.
        plan["prompt_format"], plan["prompt_eos"] = asked.pop() if len(asked) == 1 else ("{}", False)
        atomic.write_json(self.path / "plan.json", plan)
        vocabulary.keep(data.resolved.vocabulary, self.path)
        if config.init_from:
            originals.keep(config.init_from, self.path)
        if config.extension and (tokenizer := pathlib.Path(vocabulary_of(config))).is_dir():
            originals.extend(tokenizer, config.model.vocab_size, self.path)
        atomic.write_json(self.path / "versions.json", versions())

    def prompt_form(self) -> tuple[str, bool]:
        """How a bare prompt is put to the model: "{}" as it is, or a chat's roles around it; and whether it ends in
        end-of-sequence."""
        try:
            plan = read_plan(self.path)
        except FileNotFoundError:
            return self._imported_form()
        return plan.get("prompt_format", "{}"), plan.get("prompt_eos", False)

    def _imported_form(self) -> tuple[str, bool]:
        """The form of a model that was imported and not trained: its chat template's, its tokenizer's."""
        if not (self.path / vocabulary.KEPT_TOKENIZER).is_dir():
            folder = self.path / originals.KEPT
            return "{}", sentencepiece_folder.model_file(folder) is not None and sentencepiece_folder.ends_inputs(
                folder
            )
        tokenizer = TokenizerFolder(self.path / vocabulary.KEPT_TOKENIZER)
        template = ChatTemplate.of(tokenizer)
        return ("{}" if template is None else template.prompt_format()), tokenizer.around[1]

    def write_scores(self, step: int, scores: list[Any]) -> None:
        """Keeps the scores of an eval."""
        rows = [dataclasses.asdict(score) for score in scores]
        atomic.write_json(self.path / "scores" / f"step-{step}.json", {"step": step, "tasks": rows})

    def read_scores(self, step: int) -> list[dict[str, Any]] | None:
        """The scores of an earlier eval, None where there was none."""
        path, mend = self.path / "scores" / f"step-{step}.json", "delete it, and `flan-jax eval` scores that step anew"
        try:
            kept = atomic.read_json(path, mend)
        except FileNotFoundError:
            return None
        if fault := _fault_of_scores(kept):
            raise UserError(f"{path} is damaged ({fault}); {mend}")
        return kept["tasks"]

    def scored_steps(self) -> list[int]:
        """The steps that scores are kept of, in order."""
        found = [path.stem.removeprefix("step-") for path in (self.path / "scores").glob("step-*.json")]
        return sorted(int(step) for step in found if step.isdecimal())

    def forget_scores(self, after: int) -> None:
        """Removes the scores of later steps than the one that a run goes on from: these steps are done anew."""
        for step in self.scored_steps():
            if step > after:
                (self.path / "scores" / f"step-{step}.json").unlink(missing_ok=True)


def newest_step(run_dir: str | pathlib.Path) -> int | None:
    """The step of the newest checkpoint in a run's folder, sound or not; None where there is none.

    By the names of their folders, without opening what reads checkpoints.
    """
    found = (pathlib.Path(run_dir) / "checkpoints").glob("[0-9]*")
    return max((int(step.name) for step in found if step.name.isdecimal()), default=None)


def _asking(data: Data) -> list[Mapping[str, Any]]:
    """What is known of the tasks that put questions; of all, where none does but text is gone on with."""
    every = [task.about for task in data.resolved.tasks]
    return [about for about in every if about.get("objective") in ("instruction", "chat")] or every


def _because_of_length(old: Mapping[str, Any], config: RunConfig, data: Data) -> list[str]:
    """What of a plan is another as the run is of another length: shares by a schedule, and how much text there is."""
    said = []
    for path in ("pretraining.fraction", "replay.fraction"):
        schedule, before = value_of(config, path), old["table"].get("steps")
        if isinstance(schedule, tuple) and before not in (None, steps := data.steps(config)):
            said.append(
                f"{setting(path)} is {schedule}, a schedule over the whole run, which was {before} steps and is {steps}"
            )
    every = [old, *old.get("lanes", {}).get("beside", ())]
    folders = {
        task["name"]: folder
        for lane in every
        for task, folder in zip(lane["plan"]["tasks"], lane["folders"], strict=True)
    }
    return said + part_shares.why_other(folders, data.resolved)


_SCORE: dict[str, Any] = {
    "task": str,
    "kind": str,
    "examples": int,
    "metrics": dict[str, float | None],
    "score": float | None,
    "chance": float | None,
    "about": dict[str, Any],
    "unit": str,
    "failures": list[str],
    "by_template": dict[str, float],
    "repeats": int,
}
_LATER = ("unit", "failures", "by_template", "repeats")  # which scores of earlier versions lack


def _fault_of_scores(kept: Any) -> str:
    """What keeps a file from holding the scores of a step; nothing where it does."""
    tasks: Any = kept.get("tasks") if isinstance(kept, dict) else None
    if not fits(tasks, list[dict[str, Any]]):
        return "it holds no list of tasks"
    for number, task in enumerate(tasks):
        if wrong := set(task) - set(_SCORE):
            return f"tasks.{number} holds {', '.join(sorted(wrong))}"
        if fault := misfit(task, _SCORE, _LATER, f"tasks.{number}."):
            return fault
    return ""


def _changed_lanes(old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    """Says in words how rows of their own, and how often steps train on them, differ between two runs."""
    if old is None or new is None:
        was, now = ("was not", "is") if old is None else ("was", "is not")
        return [] if old is new else [f"plain text {was} in rows of its own, by Pretraining.rows, and {now}"]
    said = []
    for was, now in zip(old["beside"], new["beside"], strict=True):
        said += plans.differences(was["plan"], now["plan"])
        said += [
            f"{name} was {was[key]}, is {now[key]}"
            for key, name in (("rows", "Pretraining.rows"), ("batch_size", "the batch of plain text's rows"))
            if was[key] != now[key]
        ]
    if old["order"] != new["order"]:
        said.append("plain text has another share of the steps")
    return said


def _changed_weights(earlier: RunConfig | None, config: RunConfig) -> list[str]:
    """The settings by which batches hold other loss weights, each as "NAME was X, is Y"."""
    paths = ("loss.prompt_weight", "loss.task_weights", "pretraining.loss_weight")
    pairs = [(path, value_of(earlier, path), value_of(config, path)) for path in paths if earlier is not None]
    return [f"{setting(path)} was {was}, is {now}" for path, was, now in pairs if was != now]


def changed_state(earlier: RunConfig, config: RunConfig) -> list[str]:
    """The settings by which two runs' checkpoints hold other leaves, each as "NAME was X, is Y".

    >>> adafactor = dataclasses.replace(RunConfig().optimizer, name="adafactor", b1=0.8)
    >>> changed_state(RunConfig(), dataclasses.replace(RunConfig(), optimizer=adafactor))
    ["Optimizer.name was 'adamw', is 'adafactor'"]
    """
    said = []
    for section in ("model", "lora", "optimizer"):
        old, new = getattr(earlier, section), getattr(config, section)
        for field in dataclasses.fields(new):
            was, now = (to_plain(getattr(part, field.name)) for part in (old, new))
            if section == "optimizer":
                if field.name not in ("name", "factory", "groups", "clip_norm", "weight_decay", "ema"):
                    continue
                if field.name in ("clip_norm", "weight_decay", "ema") and bool(was) == bool(now):
                    continue  # a factor, not another rule
            if was != now:
                said.append(f"{setting(f'{section}.{field.name}')} was {_named(was)}, is {_named(now)}")
    return said


def _named(plain: Any) -> str:
    """A setting as a user knows it: a function by its name."""
    return f"@{plain['function'].replace(':', '.')}" if isinstance(plain, dict) and "function" in plain else repr(plain)


def trained_tasks(run_dir: pathlib.Path) -> list[str]:
    """The names of the tasks that a run trained on; raises as `read_plan` does."""
    kept = read_plan(run_dir)
    return [task["name"] for lane in (kept, *kept.get("lanes", {}).get("beside", ())) for task in lane["plan"]["tasks"]]


def read_plan(run_dir: pathlib.Path) -> dict[str, Any]:
    """What a run's folder keeps of its plan.

    Raises:
      FileNotFoundError: it keeps none.
      UserError: the file is damaged.
    """
    path, mend = run_dir / "plan.json", "delete it, and the run's own `flan-jax train` command writes it anew"
    kept = atomic.read_json(path, mend)
    if fault := _fault_of_plan(kept):
        raise UserError(f"{path} is damaged ({fault}); {mend}")
    return kept


_PLAN: dict[str, Any] = {
    "tasks": list[dict[str, Any]],
    "capacities": dict[str, int],
    "seed": int,
    "packed": bool,
    "largest_window": int,
}
_TASK: dict[str, Any] = {"name": str, "count": int, "share": int, "fingerprint": str, "draws": int}
_TASK |= {"beside": bool, "in_order": bool}
_TABLE: dict[str, Any] = {"batch_size": int, "steps": int, "vocabulary": dict[str, Any], "forms": dict[str, int]}
_KEPT: dict[str, Any] = {"plan": dict[str, Any], "folders": list[str], "table": dict[str, Any]}
_LANE: dict[str, Any] = {"rows": dict[str, int], "batch_size": int}
_ORDER: dict[str, Any] = {"shares": list[int], "courses": list[list[Any]]}


def _fault_of_plan(kept: Any) -> str:
    """What keeps a file from being the plan of a run; nothing where it is one."""
    if not isinstance(kept, dict):
        return "it holds no object"
    parts = [("", kept, _KEPT)]
    plan: Any = kept.get("plan")
    table = kept.get("table")
    if isinstance(plan, dict):
        parts.append(("plan.", plan, _PLAN))
        tasks: Any = plan.get("tasks")
        for number, task in enumerate(tasks if fits(tasks, list[dict[str, Any]]) else []):
            parts.append((f"plan.tasks.{number}.", task, _TASK))
            if extra := set(task) - set(_TASK):
                return f"plan.tasks.{number} holds {', '.join(sorted(extra))}"
    if isinstance(table, dict):
        parts.append(("table.", table, _TABLE))
        if fits(table.get("vocabulary"), dict[str, Any]):
            parts.append(("table.vocabulary.", table["vocabulary"], {"name": str, "size": int}))
    for prefix, values, wanted in parts:
        if fault := misfit(values, wanted, ("draws", "steps", "vocabulary", "forms", "beside", "in_order"), prefix):
            return fault
    sizes = [*plan["capacities"].values(), plan["largest_window"], *(task["count"] for task in plan["tasks"])]
    if not plan["tasks"] or len(kept["folders"]) != len(plan["tasks"]):
        return f"it has {counted(len(plan['tasks']), 'task')} and {counted(len(kept['folders']), 'folder')}"
    if not fits(plan.get("courses", []), list[list[Any]]):
        return "courses are of another kind"
    least = 0 if plan.get("courses") else 1  # a task may join later
    if not plan["capacities"] or min(sizes) < 1 or min(task["share"] for task in plan["tasks"]) < least:
        return "a size, a count or a share in it is below 1"
    selections = kept.get("selections", [None] * len(kept["folders"]))
    if not fits(selections, list[str | None]) or len(selections) != len(kept["folders"]):
        return "selections are of another kind"
    if not fits(kept.get("prompt_format", ""), str) or not fits(kept.get("prompt_eos", False), bool):
        return "prompt_format or prompt_eos is of another kind"
    return _fault_of_lanes(kept["lanes"], kept["table"]) if "lanes" in kept else ""


def _fault_of_lanes(lanes: Any, table: Mapping[str, Any]) -> str:
    """What keeps the lanes of a plan from being any; nothing where they are."""
    if not fits(lanes, dict[str, Any]):
        return "lanes are of another kind"
    beside: Any = lanes.get("beside")
    if not fits(beside, list[dict[str, Any]]) or not beside:
        return "lanes.beside is of another kind"
    if not fits(lanes.get("order"), dict[str, Any]):
        return "lanes.order is of another kind"
    if fault := misfit(lanes["order"], _ORDER, (), "lanes.order."):
        return fault
    if len(lanes["order"]["shares"]) != len(beside) + 1:
        return f"lanes.order has {len(lanes['order']['shares'])} shares, of {len(beside) + 1} lanes"
    for number, lane in enumerate(beside):
        if fault := misfit(lane, _LANE) or _fault_of_plan({**lane, "table": table}):
            return f"in lanes.beside.{number}: {fault}"
    return ""


def versions() -> dict[str, Any]:
    """What a run is run by: Python, the machine, the packages."""
    packages = {name: _version(name) for name in _PACKAGES}
    return {"python": sys.version.split()[0], "machine": platform.platform(), "packages": packages}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
