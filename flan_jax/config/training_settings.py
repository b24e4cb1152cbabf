"""The settings of the loss and the optimiser: plain dataclasses, read without JAX."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

from flan_jax.annotations import fits
from flan_jax.errors import UserError, nearest, together

Schedule = Callable[[Any], Any]
SCHEDULES = ("constant", "linear", "cosine", "rsqrt", "wsd")
DECAYS = ("linear", "1-sqrt")
OPTIMIZERS = ("adamw", "adafactor", "muon", "lion", "sgd")
GROUP: dict[str, tuple[Any, str]] = {
    "name": (str, "a word in quotes"),
    "learning_rate": (float, "a number"),
    "learning_rate_factor": (float, "a number"),
    "weight_decay": (float, "a number"),
    "frozen": (bool, "True or False"),
}
"""What `OptimizerConfig.groups` may say of the parameters of a pattern: a type each, and its words."""
MOST_LIKELIEST = 4096  # tokens of a teacher's distribution that are kept


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """How parameters move.

    Attributes:
      name: "adamw", "adafactor", "lion", "sgd" (with `b1` as its momentum), or "muon": Muon (Jordan 2024) for the
        matrices between a model's layers and adamw for all else. Its updates are as large as adamw's (Liu et al. 2025,
        arXiv 2502.16982), so that one learning rate serves both.
      learning_rate: the peak.
      schedule: "constant", "linear" or "cosine" (from the peak after warm-up to `final_fraction` of it at the last
        step), "rsqrt" (falls with the square root of the step after warm-up), "wsd" (stays at the peak after warm-up
        and falls to `final_fraction` over the last `decay_fraction` of the steps; Hu et al. 2024, arXiv 2404.06395), or
        a callable `(learning_rate, total_steps) -> (step -> learning rate)`.
      warmup_steps: steps over which the rate rises evenly; step 0 already has `learning_rate / warmup_steps`.
      final_fraction: where "linear", "cosine" and "wsd" end, as a fraction of the peak.
      decay_fraction: the part of all steps over which "wsd" falls.
      decay: how "wsd" falls: "linear", or "1-sqrt", steep at first (Hägele et al. 2024, arXiv 2405.18392).
      weight_decay: decoupled decay, multiplied by the learning rate; norms' scales, biases and relative position
        tables are spared.
      b1: decay of the first moment of adamw, lion and sgd.
      b2: decay of adamw's second moment, of lion's only one.
      eps: added to adamw's denominator.
      clip_norm: the largest global gradient norm, or None for no clipping.
      factory: a user's `(learning_rate=schedule) -> optax.GradientTransformation` in place of `name`; clipping by
        `clip_norm` still goes before it.
      groups: other settings for the parameters whose dotted names match a pattern, as in {"embedding.*":
        {"learning_rate_factor": 0.1}, "encoder.*": {"frozen": True}, "*.mlp.*": {"name": "muon"}}. The first pattern
        that matches a name is taken. A group may set its own name, weight_decay, and learning_rate or
        learning_rate_factor (of this section's peak); the schedule's course and all else are this section's. What is
        frozen takes no gradient and no statistics.
      ema: the decay of a mean of the parameters over the steps, kept beside them in float32: after t steps each step
        s weighs ema ** (t - s). None: no such mean. See `Evaluation.averaged`.
      max_skipped_steps: a step whose loss or gradient is not finite changes nothing and is counted; so many in a row
        end the run.
    """

    name: Literal["adamw", "adafactor", "muon", "lion", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "linear", "cosine", "rsqrt", "wsd"] | Callable[..., Schedule] = "constant"
    warmup_steps: int = 0
    final_fraction: float = 0.1
    decay_fraction: float = 0.2
    decay: Literal["linear", "1-sqrt"] = "linear"
    weight_decay: float = 0.0
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8
    clip_norm: float | None = 1.0
    factory: Callable[..., Any] | None = None
    groups: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict, hash=False)
    ema: float | None = None
    max_skipped_steps: int = 10

    def of_group(self, pattern: str) -> "OptimizerConfig":
        """The settings of one of `groups`: what it says over what this section says.

        >>> OptimizerConfig(learning_rate=0.1, groups={"a.*": {"learning_rate_factor": 0.5}}).of_group("a.*")
        OptimizerConfig(name='adamw', learning_rate=0.05, ...)
        """
        own = dict(self.groups[pattern])
        own.pop("frozen", None)
        factor = own.pop("learning_rate_factor", 1.0)
        own["learning_rate"] = own.get("learning_rate", self.learning_rate) * factor
        factory = None if "name" in own else self.factory
        return dataclasses.replace(self, **own, factory=factory, groups={})

    def faults(self) -> list[str]:
        """Every fault of these settings."""
        faults = []
        if self.name not in OPTIMIZERS:
            faults.append(
                f"name is {self.name!r}, known are {', '.join(OPTIMIZERS)}{nearest(str(self.name), OPTIMIZERS)}"
            )
        if not callable(self.schedule) and self.schedule not in SCHEDULES:
            known = f"known are {', '.join(SCHEDULES)}, or a callable{nearest(str(self.schedule), SCHEDULES)}"
            faults.append(f"schedule is {self.schedule!r}, {known}")
        if callable(self.schedule) and self.warmup_steps:
            faults.append(f"warmup_steps is {self.warmup_steps}, but your own schedule would ignore it; set it to 0")
        if self.factory is not None and self.weight_decay:
            faults.append(f"weight_decay is {self.weight_decay}, but your own factory would ignore it; set it to 0")
        for field in ("learning_rate", "warmup_steps", "weight_decay", "final_fraction"):
            if not getattr(self, field) >= 0:
                faults.append(f"{field} is {getattr(self, field)}, it must be 0 or more")
        for field in ("b1", "b2"):
            if not 0 <= getattr(self, field) < 1:
                faults.append(f"{field} is {getattr(self, field)}, it must be at least 0 and below 1")
        if self.clip_norm is not None and not self.clip_norm > 0:
            faults.append(f"clip_norm is {self.clip_norm}, it must be above 0, or None for no clipping")
        if not 0 < self.decay_fraction <= 1:
            faults.append(f"decay_fraction is {self.decay_fraction}, it must be above 0 and at most 1")
        if self.decay not in DECAYS:
            faults.append(f"decay is {self.decay!r}, known are {', '.join(DECAYS)}{nearest(str(self.decay), DECAYS)}")
        if self.ema is not None and not 0 < self.ema < 1:
            faults.append(f"ema is {self.ema}, it must be above 0 and below 1, or None for no mean of the parameters")
        if not self.max_skipped_steps >= 1:
            faults.append(f"max_skipped_steps is {self.max_skipped_steps}, it must be 1 or more")
        # What is wrong with the section itself is told once, not for every group that takes it over.
        groups = [f"groups[{pattern!r}]: {fault}" for pattern in self.groups for fault in self._group_faults(pattern)]
        return faults + [fault for fault in groups if fault.partition("]: ")[2] not in faults]

    def _group_faults(self, pattern: str) -> list[str]:
        group = self.groups[pattern]
        if not group:
            return [f"it says nothing; it may set {', '.join(GROUP)}"]
        if strange := [name for name in group if name not in GROUP]:
            return [f"it sets {strange[0]!r}, wanted {', '.join(GROUP)}{nearest(strange[0], GROUP)}"]
        if wrong := [name for name, value in group.items() if not fits(value, GROUP[name][0])]:
            return [f"{name} is {group[name]!r}, wanted {GROUP[name][1]}" for name in wrong]
        if group.get("frozen") and len(group) > 1:
            return ["what is frozen has no other settings; leave them out, or frozen"]
        if "learning_rate" in group and "learning_rate_factor" in group:
            return ["it sets learning_rate and learning_rate_factor; keep one"]
        if not group.get("learning_rate_factor", 0) >= 0:
            return [f"learning_rate_factor is {group['learning_rate_factor']}, it must be 0 or more"]
        return self.of_group(pattern).faults()

    def check(self) -> None:
        """Raises `UserError` with every fault of these settings."""
        if faults := self.faults():
            raise UserError(together(faults, "Optimizer"))


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """What a target token costs.

    Attributes:
      z_loss: factor of the squared log-normaliser that is added to every token's loss; it keeps logits from drifting.
      label_smoothing: share of the target's probability that is spread evenly over the vocabulary, in [0, 1).
      function: a user's `(logits [B, L, V], targets [B, L]) -> losses [B, L]` in place of the cross-entropy;
        `z_loss` is still added to it, `label_smoothing` is its own affair. It gets whole logits, whatever `chunk` is.
      chunk: tokens whose logits a device holds at a time; 0: those of the whole batch; "auto": the whole batch's where
        they are small, otherwise as many as suit the device. The figures are the same to rounding.
      task_weights: factors of tasks' losses, by a task's name, a pattern of names ("super_ni.*"), a cluster or an
        objective; of several that mean a task, the most special counts. A task of 0 is read and not learnt.
      prompt_weight: the loss weight of prompts, and of all else of an example that bears no loss otherwise, such as a
        chat's user turns; for decoders.
    """

    z_loss: float = 0.0
    label_smoothing: float = 0.0
    function: Callable[..., Any] | None = None
    chunk: int | Literal["auto"] = "auto"
    task_weights: dict[str, float] = dataclasses.field(default_factory=dict, hash=False)
    prompt_weight: float = 0.0

    def faults(self) -> list[str]:
        """Every fault of these settings."""
        faults = []
        if not self.z_loss >= 0:
            faults.append(f"z_loss is {self.z_loss}, it must be 0 or more")
        if not 0 <= self.label_smoothing < 1:
            faults.append(f"label_smoothing is {self.label_smoothing}, it must be at least 0 and below 1")
        if self.function is not None and not callable(self.function):
            faults.append(f"function is {self.function!r}, it must be callable as (logits, targets)")
        if self.function is not None and self.label_smoothing:
            faults.append("label_smoothing is set, but your loss function replaces the cross-entropy that it smooths")
        if self.chunk != "auto" and not (isinstance(self.chunk, int) and self.chunk >= 0):
            faults.append(f"chunk is {self.chunk!r}, it must be 'auto', or a number of tokens, 0 for whole logits")
        faults += [
            f"task_weights has {weight} for {word!r}, it must be 0 or more and finite"
            for word, weight in self.task_weights.items()
            if not 0 <= weight < math.inf
        ]
        if not 0 <= self.prompt_weight < math.inf:
            faults.append(f"prompt_weight is {self.prompt_weight}, it must be 0 or more and finite")
        return faults

    def check(self) -> None:
        """Raises `UserError` with every fault of these settings."""
        if faults := self.faults():
            raise UserError(together(faults, "Loss"))


FORMS = {
    "Optimizer.factory": "(learning_rate=schedule) -> optax.GradientTransformation",
    "Optimizer.schedule": "(learning_rate, total_steps) -> (step -> learning rate)",
    "Loss.function": "(logits [B, L, V], targets [B, L]) -> losses [B, L]",
}
"""How functions of the user's are called, and what they give back."""


@dataclasses.dataclass(frozen=True)
class DistillationConfig:
    """A teacher's distribution beside the targets, measured once by `flan-jax prepare --teacher RUN`.

    Attributes:
      teacher: the folder of the run, or of a Hugging Face model, whose likeliest tokens the store holds; None: no
        teacher.
      top_k: how many tokens it holds of each position.
      weight: the share of the loss that is the teacher's: (1 - weight) * cross-entropy + weight * KL.
      temperature: both distributions are softened by it, and the divergence multiplied by its square.
    """

    teacher: str | None = None
    top_k: int = 16
    weight: float = 0.5
    temperature: float = 1.0

    def __bool__(self) -> bool:
        """Whether a teacher has any share of the loss."""
        return self.teacher is not None and self.weight > 0

    def faults(self) -> list[str]:
        """Every fault of these settings."""
        faults = []
        if not 1 <= self.top_k <= MOST_LIKELIEST:
            faults.append(f"top_k is {self.top_k}, it must be 1 to {MOST_LIKELIEST:,}")
        if not 0 <= self.weight <= 1:
            faults.append(f"weight is {self.weight}, it must be 0 to 1")
        if not 0 < self.temperature < math.inf:
            faults.append(f"temperature is {self.temperature}, it must be above 0 and finite")
        return faults


@dataclasses.dataclass(frozen=True)
class StoppingConfig:
    """When a run ends before its last step.

    Attributes:
      metric: "TASK/score" or "mean/score", as `Checkpoints.best_metric`; None: never.
      mode: whether the largest or the smallest is best.
      patience: after so many scorings in a row that are not better than the best before them the run is complete.
      min_delta: what counts as better: more than the best by more than this.
    """

    metric: str | None = None
    mode: Literal["max", "min"] = "max"
    patience: int = 3
    min_delta: float = 0.0

    def faults(self) -> list[str]:
        """Every fault of these settings."""
        faults = []
        if not self.patience >= 1:
            faults.append(f"patience is {self.patience}, it must be 1 or more")
        if not self.min_delta >= 0:
            faults.append(f"min_delta is {self.min_delta}, it must be 0 or more")
        return faults
