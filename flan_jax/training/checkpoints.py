"""Checkpoints on Orbax; the one file that knows it.

A checkpoint is a folder named by its step, with three items: `params`, `optimizer` (the optimiser's statistics and the
step) and `extra` (the caller's JSON); and a fourth, `averages`, where the run keeps the mean of its parameters. Beside
them lies `checksums.json`, written before Orbax commits the folder: a step without it, or with other bytes than it
says, is not taken. A step is scored after it was saved: its metrics, by which the best step is chosen, are put into its
folder as `metrics.json` once it is committed.
"""

import hashlib
import json
import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeGuard

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from jax.experimental import multihost_utils

from flan_jax.errors import UserError
from flan_jax.parallel import multihost
from flan_jax.training.averaging import as_parameters
from flan_jax.training.checksums import CHECKSUMS, METRICS, REWRITTEN_AT_COMMIT, checksums, read_object
from flan_jax.training.disk import full_disk_named
from flan_jax.training.saved_trees import differences, in_shape_of, nested, placed

_AVERAGES = "averages"
_DELETED = "deleted"
_DAMAGED = "damaged"
_SHOWN = 5
_UNFINISHED = "*.orbax-checkpoint-tmp"
_log = logging.getLogger(__name__)


class OtherState(UserError):
    """A checkpoint whose leaves are not those of the run that reads it."""


class Checkpoints:
    """The checkpoints of one run: saved in the background, the newest ones and the best one kept.

    Every process of a run makes one and calls the same methods in the same order.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        keep: int = 3,
        keep_best: int = 1,
        best_metric: str | None = None,
        best_mode: Literal["max", "min"] = "max",
        read_only: bool = False,
    ):
        """Opens the folder; unless `read_only`, makes it and clears what a kill left half written or half deleted.

        Args:
          folder: of all steps; a path or a bucket's address.
          keep: how many of the newest steps stay.
          keep_best: how many of the best by `best_metric` stay besides.
          best_metric: a name in the metrics given to `rank`, or None to go by age alone.
          best_mode: whether a higher or a lower metric is better.
          read_only: for those who look into the folder of a run that may be alive.

        Raises:
          UserError: settings out of range.
        """
        if keep < 1 or keep_best < 0 or best_mode not in ("max", "min"):
            raise UserError(
                f"Checkpoints cannot keep {keep} newest and {keep_best} best by mode {best_mode!r}: "
                "keep at least 1, keep_best at least 0, best_mode 'max' or 'min'."
            )
        address = os.fspath(folder)
        self.folder = epath.Path(address if "://" in address else os.path.abspath(os.path.expanduser(address)))
        self._metric, self._mode, self._read_only = best_metric, best_mode, read_only
        self._saving: int | None = None
        self._sound: set[int] = set()
        self._keep, self._keep_best = keep, keep_best
        self._metrics: dict[int, Mapping[str, float]] = {}
        self._unwritten: set[int] = set()
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=_Kept(self._kept),
            todelete_subdir=_DELETED,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        self._manager: ocp.CheckpointManager | None = None
        if not read_only:
            self._clear_unfinished()
            self._open()
            self._sweep()

    def save(self, step: int, state: Mapping[str, Any], extra: Mapping[str, Any]) -> None:
        """Starts to save a step; returns once the state's values are copied, so that it may be donated.

        Waits for the save before, and tells of its failure. A step of this number or a later one, which can only be
        damaged or of a course given up, is moved to the folder `damaged`.

        Args:
          step: the number of steps done.
          state: `{"params", "opt", "step"}`, and "averages" where there are any.
          extra: JSON that comes back from `restore`.

        Raises:
          UserError: the disk is full.
        """
        self.wait()
        manager = self._open()
        with full_disk_named(self.folder):
            self._move_aside([old for old in manager.all_steps() if old >= step])
            self._saving = step
            self._sound.discard(step)
            self._metrics.pop(step, None)
            items = {item: ocp.args.StandardSave(nested(tree)) for item, tree in _items_of(state).items()}
            manager.save(step, args=ocp.args.Composite(extra=ocp.args.JsonSave(dict(extra)), **items), force=True)

    def rank(self, step: int, metrics: Mapping[str, float]) -> None:
        """Gives a saved step its metrics; a step without `best_metric` is never the best.

        Nothing is waited for: the metrics count from now on, and are written when the step is committed.

        Args:
          step: from `save`.
          metrics: by name, which were taken of the step.
        """
        self._metrics[step] = {name: float(value) for name, value in metrics.items()}
        self._unwritten.add(step)

    def steps(self) -> list[int]:
        """The steps that have been committed, sound or not, in order."""
        if self._manager is None and not self.folder.exists():
            return []
        manager = self._open()
        if self._read_only:
            manager.reload()
        return sorted(manager.all_steps())

    def latest(self) -> int | None:
        """The newest step whose files are all as they were written, or None where there is none."""
        return self._first_sound(self.steps()[::-1])

    def best(self) -> int | None:
        """The step with the best `best_metric` among the sound ones; the latest where no metric was named.

        None where no step has the metric.
        """
        if self._metric is None:
            return self.latest()

        return self._first_sound(self._ranked(self.steps())[::-1])

    def restore(self, step: int, abstract_state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads a step onto any mesh.

        Args:
          step: from `latest` or `best`.
          abstract_state: the state's tree of `jax.ShapeDtypeStruct` with shardings (`state.abstract_state`).

        Returns:
          The state, bit for bit as saved, and the saved `extra`.

        Raises:
          UserError: there is no such step, or it is damaged.
          OtherState: another model or optimiser made it.
        """
        read, extra = self._read(step, _items_of(abstract_state))
        return {**read.pop("optimizer"), **read}, extra

    def restore_params(self, step: int, abstract_params: Any, averaged: bool = False) -> Any:
        """Reads a step's parameters alone; see `restore`.

        Args:
          step: from `latest` or `best`.
          abstract_params: their shapes with shardings.
          averaged: whether their mean over the steps is read in their place, where the step holds one.
        """
        if averaged and (self.folder / str(step) / _AVERAGES).exists():
            wide = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, np.float32, sharding=leaf.sharding), abstract_params
            )
            return as_parameters(self._read(step, {_AVERAGES: wide})[0][_AVERAGES], abstract_params)
        return self._read(step, {"params": abstract_params})[0]["params"]

    def digest(self, step: int) -> str:
        """Tells a step's files from those of any other, by their checksums; from `latest` or `best`."""
        return hashlib.sha256((self.folder / str(step) / CHECKSUMS).read_bytes()).hexdigest()[:16]

    def restore_optimizer(self, step: int, abstract_state: Mapping[str, Any]) -> Any:
        """Reads a step's optimiser statistics alone; see `restore`."""
        wanted = {"opt": abstract_state["opt"], "step": abstract_state["step"]}
        return self._read(step, {"optimizer": wanted})[0]["optimizer"]["opt"]

    def wait(self) -> None:
        """Returns once the save under way is committed.

        Raises:
          UserError: it failed as the disk is full. Other failures are raised as they are.
        """
        if self._manager is not None:
            with full_disk_named(self.folder):
                self._manager.wait_until_finished()
                self._write_metrics(self._manager)
            self._sweep()

    def close(self) -> None:
        """Waits, then lets go of Orbax's threads; further calls do nothing."""
        try:
            self.wait()
        finally:
            manager, self._manager = self._manager, None
            if manager is not None:
                with full_disk_named(self.folder):
                    manager.close()

    def _open(self) -> ocp.CheckpointManager:
        if self._manager is None:
            try:
                with full_disk_named(self.folder):
                    self._manager = ocp.CheckpointManager(
                        self.folder,
                        options=self._options,
                        handler_registry=_handlers(),
                    )
            except (ValueError, TypeError, OverflowError) as error:
                if (path := _damaged_dates(self.folder)) is None:
                    raise
                said = " ".join(str(error).split()).rstrip(".")
                raise UserError(
                    f"{path} is damaged ({said}); delete it: it holds the step's dates alone, and the step is read "
                    "without it."
                ) from error
        return self._manager

    def _kept(self, steps: Sequence[int]) -> set[int]:
        """Which of these steps, in order, stay."""
        best = self._ranked(steps)[-self._keep_best :] if self._keep_best else []
        return {*steps[-self._keep :], *best}

    def _ranked(self, steps: Sequence[int]) -> list[int]:
        """The steps that have a finite `best_metric`, the best last."""
        if self._metric is None:
            return []
        found = ((self._metrics_of(step).get(self._metric), step) for step in steps)
        sign = 1 if self._mode == "max" else -1
        return [step for _, step in sorted((sign * v, step) for v, step in found if _is_finite(v))]

    def _metrics_of(self, step: int) -> Mapping[str, float]:
        if step not in self._metrics:
            try:
                found = read_object(self.folder / str(step) / METRICS)
            except (OSError, ValueError):
                # As they were kept before: an item of the checkpoint's own.
                found = self._open().metrics(step)
            if self._read_only:  # they may yet come
                return found or {}
            self._metrics[step] = found or {}
        return self._metrics[step]

    def _write_metrics(self, manager: ocp.CheckpointManager) -> None:
        """Puts metrics into the folders of committed steps; a step that was the best until then may go."""
        committed = sorted(manager.all_steps())
        for step in self._unwritten.intersection(committed) if jax.process_index() == 0 else ():
            beside = self.folder / str(step) / f"{METRICS}.new"
            beside.write_text(json.dumps(self._metrics[step]))
            beside.replace(self.folder / str(step) / METRICS)
        if self._unwritten:
            for step in set(committed) - self._kept(committed):
                manager.delete(step)
        self._unwritten.clear()

    def _seal(self) -> None:
        """Writes the checksums of the step that is about to be committed; Orbax calls it on its own thread."""
        step = str(self._saving)
        unfinished = [path for path in self.folder.iterdir() if path.name.startswith(step + ".")]
        root = unfinished[0] if unfinished else self.folder / step
        (root / CHECKSUMS).write_text(json.dumps(checksums(root), indent=0))

    def _fault(self, step: int) -> str:
        """What is wrong with a step's files, or nothing; each sound step is read through once."""
        if step in self._sound:
            return ""
        root = self.folder / str(step)
        try:
            wanted = read_object(root / CHECKSUMS)
            found = checksums(root, wanted)
        except (OSError, ValueError) as error:
            return f"{CHECKSUMS} cannot be read ({type(error).__name__})"
        if not wanted:
            return f"{CHECKSUMS} names no file"
        for name, sums in wanted.items():
            if found.get(name) != sums:
                return f"{name} is {'missing' if name not in found else 'not as it was written'}"
        self._sound.add(step)
        return ""

    def _first_sound(self, steps: Sequence[int]) -> int | None:
        """The first step without a fault; found by one process for all, so that they agree."""
        found = -1
        if jax.process_index() == 0:
            for step in steps:
                fault = self._fault(step)
                if not fault:
                    found = step
                    break
                _log.warning("The checkpoint of step %d in %s is passed over: %s.", step, self.folder, fault)
        found = multihost.of_first(found)
        return None if found < 0 else found

    def _read(self, step: int, trees: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        steps = self.steps()
        if step not in steps:
            there = ", ".join(map(str, steps)) or "none"
            raise UserError(f"There is no checkpoint of step {step} in {self.folder}; the steps there are: {there}.")
        if self._first_sound([step]) is None:
            raise UserError(
                f"The checkpoint of step {step} in {self.folder} is damaged: {self._fault(step)}; "
                "choose another of its steps."
            )
        manager = self._open()
        saved = manager.item_metadata(step)
        changed = [line for item, tree in trees.items() for line in differences(_saved(saved, item), tree, item)]
        if changed:
            rest = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
            raise OtherState(
                f"The checkpoint of step {step} in {self.folder} is of another model or optimiser: "
                f"{'; '.join(changed[:_SHOWN])}{rest}. Give the settings it was made with, or another run folder."
            )
        items = {item: ocp.args.StandardRestore(nested(tree, placed)) for item, tree in trees.items()}
        read = manager.restore(step, args=ocp.args.Composite(extra=ocp.args.JsonRestore(), **items))
        return {item: in_shape_of(tree, read[item]) for item, tree in trees.items()}, read["extra"]

    def _move_aside(self, steps: list[int]) -> None:
        if not steps:
            return
        if jax.process_index() == 0:
            (self.folder / _DAMAGED).mkdir(exist_ok=True)
            for step in steps:
                target = self.folder / _DAMAGED / str(step)
                if target.exists():
                    target.rmtree()
                (self.folder / str(step)).rename(target)
                _log.warning("The checkpoint of step %d is moved to %s: a new one takes its place.", step, target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("flan_jax.checkpoints.move_aside")
        self._open().reload()

    def _clear_unfinished(self) -> None:
        """Deletes what a kill left half written; Orbax does so too, but not before its first save may go on."""
        for path in list(self.folder.glob(_UNFINISHED)) if jax.process_index() == 0 else ():
            path.rmtree()

    def _sweep(self) -> None:
        """Deletes what was renamed to be deleted: a step that is still under its own name is whole."""
        if jax.process_index() == 0 and not self._read_only and (self.folder / _DELETED).exists():
            (self.folder / _DELETED).rmtree()


class _Kept:
    """Orbax's question which steps stay, answered by a function of their numbers."""

    def __init__(self, kept: Callable[[Sequence[int]], set[int]]):
        self._kept = kept

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Whether each checkpoint stays."""
        kept = self._kept([info.step for info in checkpoints])
        return [info.step in kept for info in checkpoints]


def _handlers() -> Any:
    """The items of a checkpoint, so that Orbax can tell their metadata before anything is restored."""
    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    for item in ("params", "optimizer", _AVERAGES):
        handler = ocp.StandardCheckpointHandler()
        registry.add(item, ocp.args.StandardSave, handler)
        registry.add(item, ocp.args.StandardRestore, handler)
    registry.add("extra", ocp.args.JsonSave, json_handler := ocp.JsonCheckpointHandler())
    registry.add("extra", ocp.args.JsonRestore, json_handler)
    return registry


def _items_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as the items of a checkpoint."""
    items = {"params": state["params"], "optimizer": {"opt": state["opt"], "step": state["step"]}}
    return items | ({_AVERAGES: state[_AVERAGES]} if _AVERAGES in state else {})


def _saved(metadata: Any, item: str) -> Any:
    """What a step holds of an item; None where it has not got it."""
    return metadata.get(item)


def _is_finite(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and abs(value) < math.inf


def _damaged_dates(folder: Any) -> Any:
    """The first step's file of dates that is JSON and yet none of Orbax's, which does not open the folder then."""
    for step in ocp.path.step.standard_name_format().find_all(folder):
        try:
            _ = step.commit_timestamp
        except (ValueError, TypeError, OverflowError):
            return step.path / REWRITTEN_AT_COMMIT
    return None
