"""What the data process is started with, and what is asked of it: all that shapes tokens and rates.

Both travel to the process as JSON, and both are part of the key under which an answer is kept.
"""

import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Mapping
from typing import Any, Literal

from flan_jax.data.augment_config import AugmentConfig
from flan_jax.data.stores import store as stores
from flan_jax.files import filesystem
from flan_jax.text.vocabulary_names import Form

_VERSIONS = ("flan-jax", "seqio", "tensorflow", "tensorflow-text", "tensorflow-datasets", "sentencepiece", "numpy")
_SHAPING = ("split", "lengths", "seed", "on_long", "on_bad_row", "limit")
_READING = ("seed", "on_long", "on_bad_row", "limit", "each_template")


@dataclasses.dataclass(frozen=True)
class WorkerSetup:
    """What a data process registers, and how it prepares.

    Attributes:
      modules: the user's modules, imported after the built-in mixtures.
      folders: where the user's modules are found beside the folder one is in.
      data_files: files given by `--data`; they are registered as the mixture `user_data`.
      data_fields: which column is which, where the files' rows are not recognised.
      data_held_out: how many rows of each file become the validation split; None: a tenth, at most 50.
      vocabulary: the run's, which tasks that declare none are read with; it may be made later.
      vocabulary_is_learnt: whether it is learnt from `data_files`, and so says nothing that they do not.
      form: the run's: whether instructions and conversations are written "plain", as a "chat", or as the model has it.
      corpora: where published data sets are read from; see `DataConfig`.
      on_missing_corpus: "error", or "skip" to do without those that cannot be had.
      beam_options: flags of Apache Beam, which then fills the stores; None fills them by processes of this machine.
    """

    modules: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    data_files: tuple[str, ...] = ()
    data_fields: Mapping[str, str] = dataclasses.field(default_factory=dict)
    data_held_out: int | None = None
    vocabulary: str = "starter"
    vocabulary_is_learnt: bool = False
    form: Form = "auto"
    corpora: str | Mapping[str, str] = "tfds"
    on_missing_corpus: Literal["error", "skip"] = "error"
    beam_options: tuple[str, ...] | None = None

    @property
    def has_users_tasks(self) -> bool:
        """Whether it registers more than what comes with flan_jax, or than that does without a folder of the user's."""
        return bool(self.modules or self.data_files) or isinstance(self.corpora, Mapping)

    def identity(self) -> dict[str, Any]:
        """What tells apart two processes that register the same names."""
        return {
            "modules": [[name, _place(name)] for name in self.modules],
            "files": [filesystem.absolute(path) for path in self.data_files],
            "fields": dict(self.data_fields),
            "held_out": self.data_held_out,
            "vocabulary": "" if self.vocabulary_is_learnt else self.vocabulary,
            "form": self.form,
            "corpora": [self.corpora, self.on_missing_corpus],
        }


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked of the data: everything that shapes tokens and rates, and nothing else.

    Attributes:
      mixture: a seqio mixture or task.
      split: of every task.
      lengths: {"inputs": Li, "targets": Lt}, bounds on one example.
      seed: of every draw.
      store_dir: where token stores are kept.
      on_long: what happens to an example that is longer: "truncate", "refuse" or "drop".
      on_bad_row: what happens to a row that cannot be read: "error" or "skip".
      max_draws: how many differently drawn epochs are kept before they repeat.
      limit: examples kept of each task, or rows with `each_template`; None keeps all.
      each_template: whether instruction tasks word each row by each of their templates instead of by a drawn one.
      on_wrong_mask: what happens to an example that would be trained on wrongly: "drop" or "refuse".
      augment: what the run changes about how its tasks are worded, and which inverted ones it adds.
      budget: trainable tokens that are prepared of each task, in chunks of its source; see `preparing.chunks`. None:
        all there are.
    """

    mixture: str
    split: str
    lengths: Mapping[str, int]
    seed: int
    store_dir: str
    on_long: Literal["truncate", "refuse", "drop"] = "truncate"
    on_bad_row: Literal["error", "skip"] = "error"
    max_draws: int = 8
    limit: int | None = None
    each_template: bool = False
    on_wrong_mask: Literal["drop", "refuse"] = "drop"
    augment: AugmentConfig = AugmentConfig()
    budget: int | None = None

    def __post_init__(self):
        if isinstance(self.augment, Mapping):  # as it travels
            object.__setattr__(self, "augment", AugmentConfig(**self.augment))

    @property
    def is_scored(self) -> bool:
        """Whether it is scored on, not trained on: then no example is left out for its loss mask."""
        return self.limit is not None

    def shaping(self) -> dict[str, Any]:
        """What shapes a task's tokens beside the task itself, fit for JSON."""
        more: dict[str, Any] = {"each_template": True} if self.each_template else {}
        more |= {} if self.budget is None else {"budget": self.budget}
        return {name: getattr(self, name) for name in _SHAPING} | {"lengths": dict(self.lengths)} | more

    def reading(self) -> dict[str, Any]:
        """The part that `flan_jax.tasks.examples.examples` takes by name."""
        augment = {"wording": wording} if (wording := self.augment.wording()) else {}
        return {name: getattr(self, name) for name in _READING} | augment

    def sent(self) -> "Request":
        """The same for a process in another folder."""
        return dataclasses.replace(self, lengths=dict(self.lengths), store_dir=filesystem.absolute(self.store_dir))

    def key(self, setup: WorkerSetup) -> str:
        """Names this request to a process with that set-up; other package versions make another key."""
        whole = {
            **{name: value for name, value in dataclasses.asdict(self.sent()).items() if name != "augment"},
            **({"augment": dataclasses.asdict(self.augment)} if self.augment else {}),
            **setup.identity(),
            "versions": {name: _version(name) for name in _VERSIONS},
            "format": stores.FORMAT,
        }
        return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:16]


def _place(module: str) -> str | None:
    """Where a module's top package is found; two projects may share a store and call their modules alike."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    if spec is None:
        return None
    return spec.origin or next(iter(spec.submodule_search_locations or ()), None)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
