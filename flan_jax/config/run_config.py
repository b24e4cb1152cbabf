"""The whole configuration of a run, in one frozen dataclass."""

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any, Literal

from flan_jax.config.macros import SECTIONS
from flan_jax.config.training_settings import DistillationConfig, LossConfig, OptimizerConfig, StoppingConfig
from flan_jax.data.augment_config import AugmentConfig
from flan_jax.data.hygiene_config import HygieneConfig
from flan_jax.data.mixing_config import BalanceConfig, CurriculumConfig, PretrainingConfig, ReplayConfig
from flan_jax.models.config import ModelConfig
from flan_jax.models.lora_config import LoraConfig
from flan_jax.parallel.rules import DEFAULT_SHAPE
from flan_jax.text.extended_tokenizer import Extension
from flan_jax.text.vocabulary_names import Form


@dataclass(frozen=True)
class DataConfig:
    """How examples become rows.

    Attributes:
      on_long: what happens to an example longer than its row: "truncate" shortens a field and counts it, "drop" counts
        it, "refuse" ends the run.
      on_bad_row: "error" ends at a row of a source that cannot be read, "skip" counts it.
      on_wrong_mask: what happens to an example whose tokens show that it would be trained on wrongly (nothing of it is
        learnt, no end, another text, …): "drop" counts it, "refuse" ends the run.
      max_draws: how many renderings of an example are prepared; epoch e uses draw e mod max_draws.
      window: examples that are packed together; larger fills rows better.
      pack: whether several examples share a row.
      prefetch: batches that are loaded ahead.
      threads: threads that load.
      split: the split that is trained on.
      corpora: where published data sets are read from: "tfds", "hugging_face", or a pattern of files such as
        "data/{corpus}/{split}*.jsonl" (after "hugging_face:" where their rows look as the hub has them); or these by
        the name of a corpus, "*" for all others.
      on_missing_corpus: "error" ends at a data set that cannot be had, "skip" does without it.
      on_changed_plan: "refuse" ends when the run folder was written by another plan, "continue" goes on by the new one.
    """

    on_long: Literal["truncate", "refuse", "drop"] = "truncate"
    on_bad_row: Literal["error", "skip"] = "error"
    on_wrong_mask: Literal["drop", "refuse"] = "drop"
    max_draws: int = 8
    window: int = 8192
    pack: bool = True
    prefetch: int = 4
    threads: int = 1
    split: str = "train"
    corpora: str | dict[str, str] = "tfds"
    on_missing_corpus: Literal["error", "skip"] = "error"
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
      max_examples: at most so many examples of each task, or rows with `each_template`.
      each_template: whether each row is scored under each of its task's templates, instead of under one that the seed
        draws for it.
      batch_size: examples scored at once.
      ranking: how answer options are compared: by the sum of their tokens' log-probabilities, the mean, or the sum less
        that of the option without its prompt.
      max_new_tokens: the longest answer that is generated; None: the length of the targets.
      num_beams: answers that are followed at once while one is generated; 1: the likeliest token each time.
      measure: what is scored: each task's own "metrics" (its loss where it has none), or the "loss" of every task.
      before: whether to score before the first step too.
      averaged: whether a run that keeps the mean of its parameters (Optimizer.ema) is scored, asked and exported with
        that mean instead of the parameters themselves.
      samples: the examples of each task whose prompt, answer and score are kept in the run's `samples/`; of many tasks
        fewer, see `evaluation.samples`. 0 keeps none.
    """

    split: str = "validation"
    max_examples: int = 200
    each_template: bool = False
    batch_size: int = 64
    ranking: Literal["sum", "mean", "unconditional"] = "sum"
    max_new_tokens: int | None = None
    num_beams: int = 1
    measure: Literal["metrics", "loss"] = "metrics"
    before: bool = False
    averaged: bool = True
    samples: int = 200


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
      stages: the names of the run's stages, in order; the settings of one are written NAME/SETTING. Empty: one run.
      carry: what a run takes over of the one that it starts from (a stage: of the one before) beside its parameters:
        "optimizer", its statistics, with schedules begun anew; "averages".
      sweep: what `flan-jax sweep` varies: for each setting the values that it takes in turn; see `config.sweeps`.
      bindings: the gin statements that were given beside the macros, imports among them.
      operative: the gin text of all that was bound, written to the run folder.
    """

    mixture: str = ""
    model_name: str | None = None
    init_from: str | None = None
    vocabulary: str | None = None
    form: Form = "auto"
    chat_template: str | None = None
    special_tokens: tuple[str, ...] = ()
    feature_lengths: dict[str, int] = field(default_factory=lambda: {"inputs": 512, "targets": 128})
    batch_size: int = 32
    microbatches: int = 1
    steps: int | None = None
    epochs: float | None = None
    mesh: dict[str, int] = field(default_factory=lambda: dict(DEFAULT_SHAPE))
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
    hygiene: HygieneConfig = HygieneConfig()
    augment: AugmentConfig = AugmentConfig()
    balance: BalanceConfig = BalanceConfig()
    pretraining: PretrainingConfig = PretrainingConfig()
    replay: ReplayConfig = ReplayConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    distillation: DistillationConfig = DistillationConfig()
    stopping: StoppingConfig = StoppingConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    stages: tuple[str, ...] = ()
    carry: tuple[Literal["optimizer", "averages"], ...] = ()
    sweep: dict[str, Any] = field(default_factory=dict)
    bindings: tuple[str, ...] = ()
    operative: str = ""

    @property
    def extension(self) -> Extension:
        """What the run adds to its tokenizer; false where that is nothing."""
        return Extension(self.special_tokens, self.chat_template)


def section_types() -> dict[str, type]:
    """The dataclass of each gin section."""
    hints: dict[str, Any] = {item.name: item.type for item in dataclasses.fields(RunConfig)}
    return {name: hints[path] if path else RunConfig for name, path in SECTIONS.items()}


def value_of(config: RunConfig, path: str) -> Any:
    """The value of a field by its dotted name.

    >>> value_of(RunConfig(), "data.pack")
    True
    """
    return functools.reduce(getattr, path.split("."), config)
