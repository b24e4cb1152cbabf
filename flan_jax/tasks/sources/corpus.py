"""Published data sets by name: where a run takes their rows from is its setting, not another task.

    Corpus("rte", tfds="super_glue/rte:1.0.2", hub=Hub("aps/super_glue", "rte"),
           splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
           rows={"train": 2490, "validation": 277}, sample={"premise": ..., "hypothesis": ..., "label": 0})

The run's `Data.corpora` says which is read: "tfds", "hugging_face", or a pattern of files. Rows look as TFDS has them,
whichever it is. One that TFDS has not is read from the hub or from files that its users get themselves:

    Corpus("alpaca", hub=Hub("tatsu-lab/alpaca"), get="alpaca_data.json of github.com/tatsu-lab/stanford_alpaca",
           splits={"train": "train[50:]", "validation": "train[:50]"}, sample={"instruction": ..., "output": ...})
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Literal

import seqio

from flan_jax.errors import UserError, nearest
from flan_jax.files import filesystem
from flan_jax.tasks.sources.declared import array_record, csv, json_array, jsonl, parquet, text, tfrecord
from flan_jax.tasks.sources.file_source import FileSource, parse_slice
from flan_jax.tasks.sources.grouped import Grouped
from flan_jax.tasks.sources.hugging_face import HuggingFaceSource, hugging_face
from flan_jax.tasks.sources.seqio_source import SeqioSource
from flan_jax.tasks.sources.source import Row, Source, Unavailable
from flan_jax.tasks.sources.tfds_source import TfdsSource, tfds
from flan_jax.tasks.tally import Tally

HUB, TFDS = "hugging_face", "tfds"
# The hub's own copy of every data set: CONFIGURATION/SPLIT/0000.parquet, and no card that names configurations.
PARQUET = "refs/convert/parquet"
_FORMATS: dict[str, Callable[..., FileSource]] = {
    ".jsonl": jsonl,
    ".jsonl.gz": jsonl,
    ".json": json_array,
    ".json.gz": json_array,
    ".csv": csv,
    ".tsv": functools.partial(csv, delimiter="\t"),
    ".parquet": parquet,
    ".txt": text,
    ".txt.gz": text,
    ".tfrecord": tfrecord,
    ".array_record": array_record,
}


@dataclasses.dataclass(frozen=True)
class Hub:
    """The copy of a data set on the hub of Hugging Face.

    Attributes:
      path: its name there.
      name: its configuration.
      revision: commit, tag or branch; by default the hub's own Parquet copy, which needs no script of the data set's.
      splits: what TFDS's splits are called there, where they are called otherwise.
      rows: how many rows those of TFDS's splits have there that have another number of them.
      row: turns a row of the hub's into one as TFDS has it; None where they are alike.
      sample: the same as the corpus's sample as a row there; None where they are alike.
      is_sorted: whether its rows lie sorted, by label say. They are then read in a drawn order, as TFDS's are.
      together: a column; rows there that follow each other and have the same value in it are one row of ours,
        {"together": these}, and slices of splits count those.
    """

    path: str
    name: str | None = None
    revision: str | None = PARQUET
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    row: Callable[[Row], Row] | None = None
    sample: Row | None = None
    is_sorted: bool = False
    together: str | None = None


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Declares a published data set; nothing is read before it is used.

    Attributes:
      name: how settings call it.
      tfds: its name, configuration and version in TFDS; None where that has it not.
      splits: our splits as slices of its own: {"train": "train[:-200]", "validation": "train[-200:]"}.
      rows: how many rows each of its own splits has that is sliced from its end.
      sample: a row as TFDS has it, made up: what estimates, previews and tests use where the data are not at hand.
      hub: its copy on the hub; None where there is none.
      gone: which of "tfds" and "hugging_face" cannot be downloaded any more, as far as is known.
      get: where its files are to be had, for who has to get them: what stands there, and under which terms.
    """

    name: str
    tfds: str | None = None
    splits: Mapping[str, str] = dataclasses.field(default_factory=lambda: {"train": "train"})
    rows: Mapping[str, int] = dataclasses.field(default_factory=dict)
    sample: Row = dataclasses.field(default_factory=dict)
    hub: Hub | None = None
    gone: tuple[Literal["tfds", "hugging_face"], ...] = ()
    get: str = ""

    def count(self, split: str) -> int | None:
        """The rows that a split is declared to have; None where nothing is declared.

        >>> Corpus("c", "c:1.0.0", {"train": "train[:-200]"}, {"train": 2490}, {}).count("train")
        2290
        """
        own, _, _ = self.splits[split].partition("[")
        if own not in self.rows:
            return None
        _, first, last = placed(self.splits[split], self.rows)
        return last - first


def placed(place: str, rows: Mapping[str, int]) -> tuple[str, int, int]:
    """A slice's split, first and last row, counted from the split's beginning.

    >>> placed("train[-200:]", {"train": 2490})
    ('train', 2290, 2490)
    """
    own, bracket, inner = place.partition("[")
    first, last, _ = slice(*parse_slice(bracket + inner or "[:]")).indices(rows[own])
    return own, first, max(first, last)


@dataclasses.dataclass(frozen=True)
class RunCorpora:
    """The run's part of its corpora.

    Attributes:
      places: "tfds", "hugging_face" or a pattern of files with {corpus} and {split} in it, perhaps after
        "hugging_face:" where their rows look as the hub has them; or a mapping of corpora's names to these, whose "*"
        stands for all others.
      on_missing: "error", or "skip" to do without corpora that cannot be had.
    """

    places: str | Mapping[str, str] = TFDS
    on_missing: Literal["error", "skip"] = "error"

    def place(self, corpus: str) -> str:
        """Where a corpus is read from."""
        if isinstance(self.places, str):
            return self.places
        return self.places.get(corpus, self.places.get("*", TFDS))


_run = RunCorpora()


def use(run: RunCorpora) -> None:
    """Says where corpora are read from, for every task that is asked from here on."""
    global _run
    _run = run


def check_names(known: Collection[str]) -> None:
    """Refuses names of corpora that the run's setting has and no declaration.

    Raises:
      UserError: there is such a name.
    """
    for name in () if isinstance(_run.places, str) else _run.places:
        if name != "*" and name not in known:
            raise UserError(
                f"Data.corpora names {name!r}, and no corpus is called so{nearest(name, known)}; name those of tasks' "
                f'files (mixtures/), or "*" for all others.'
            )


@dataclasses.dataclass(frozen=True)
class CorpusSource:
    """The rows of a corpus where the run takes them from.

    Attributes:
      corpus: what is declared.
      inner: the source that the run's settings choose.
      adapt: turns its rows into rows as TFDS has them; None where they are.
    """

    corpus: Corpus
    inner: Source
    adapt: Callable[[Row], Row] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the declared splits."""
        return tuple(self.corpus.splits)

    @property
    def file_splits(self) -> tuple[str, ...]:
        """The splits that are read from files that can be named."""
        return getattr(self.inner, "file_splits", self.inner.splits)

    def files(self, split: str) -> list[str]:
        """See `Source`."""
        return self.inner.files(split)

    @property
    def is_at_hand(self) -> bool:
        """Whether its rows can be read without a download, as far as can be told without the network."""
        if isinstance(self.inner, HuggingFaceSource | Grouped):
            return bool(self.inner.file_splits)
        if isinstance(self.inner, TfdsSource):
            return self.inner.is_at_hand
        if isinstance(self.inner, Nowhere):
            return False
        return all(filesystem.matching(pattern) for _, pattern in getattr(self.inner, "patterns", ()))

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) as TFDS has it; see `Source`."""
        with self._told():
            for row_id, row in self.inner.rows(split, on_bad_row, tally, start, stop):
                yield row_id, row if self.adapt is None else self.adapt(row)

    def sample_rows(self) -> list[tuple[str, Row]]:
        """The declared sample as the only row."""
        return [("sample", self.corpus.sample)]

    def check(self, split: str) -> None:
        """Sees whether the rows of a split can be had; may download them.

        Raises:
          Unavailable: they cannot.
        """
        with self._told():
            inner = self.inner.inner if isinstance(self.inner, Grouped) else self.inner
            if isinstance(inner, TfdsSource | HuggingFaceSource):
                inner.num_rows(split)
            else:
                self.inner.files(split)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except Unavailable as fault:
            known = [place for place, there in ((TFDS, self.corpus.tfds), (HUB, self.corpus.hub)) if there]
            others = [place for place in known if place not in self.corpus.gone and place != self._place]
            files = f"a pattern of files ({self.corpus.get})" if self.corpus.get else "a pattern of files"
            elsewhere = " or ".join([*map(repr, others), files])
            raise Unavailable(
                f"corpus {self.corpus.name!r} cannot be had from {self._place}: {str(fault).rstrip('.')}. Set "
                f"Data.corpora (for this corpus: {{{self.corpus.name!r}: ...}}) to {elsewhere}, or "
                f"Data.on_missing_corpus='skip' to do without it."
            ) from None

    @property
    def _place(self) -> str:
        return _run.place(self.corpus.name)

    def where(self, split: str, row_id: str) -> str:
        """The place of a row."""
        return self.inner.where(split, row_id)

    def num_rows(self, split: str) -> int | None:
        """The declared number of rows; where none is, what the rows at hand are known to be."""
        declared = self.corpus.count(split)
        return self.inner.num_rows(split) if declared is None and self.is_at_hand else declared


@dataclasses.dataclass(frozen=True)
class Nowhere:
    """The source of a corpus that the run does not look for where it could be found.

    Attributes:
      splits: the declared ones.
    """

    splits: tuple[str, ...]

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """See `Source`; there are none.

        Raises:
          Unavailable: always.
        """
        raise Unavailable("it is not there")

    def files(self, split: str) -> list[str]:
        """See `Source`; there are none.

        Raises:
          Unavailable: always.
        """
        raise Unavailable("it is not there")

    def where(self, split: str, row_id: str) -> str:
        """Its name for a row."""
        return row_id

    def num_rows(self, split: str) -> int | None:
        """Not known."""
        return None


def as_source(source: Any) -> Source:
    """The source that a declaration's stands for: of a corpus the one that the run chooses, of a seqio data source one
    that reads it; any other as it is.

    Raises:
      UserError: the run chooses a place that the corpus has not.
    """
    if isinstance(source, seqio.DataSource):
        return SeqioSource(source)
    return _chosen(source, _run.place(source.name)) if isinstance(source, Corpus) else source


def _chosen(corpus: Corpus, place: str) -> CorpusSource:
    if place == TFDS:
        there = None if corpus.tfds is None else tfds(corpus.tfds, splits=corpus.splits)
        return CorpusSource(corpus, there or Nowhere(tuple(corpus.splits)))
    if place == HUB:
        if corpus.hub is None and corpus.tfds is None:
            return CorpusSource(corpus, Nowhere(tuple(corpus.splits)))
        if corpus.hub is None:
            raise UserError(
                f"corpus {corpus.name!r} has no copy on the hub that is known; set Data.corpora for it to 'tfds' or to "
                f"a pattern of files."
            )
        return CorpusSource(corpus, _on_hub(corpus, corpus.hub), corpus.hub.row)
    schema, colon, pattern = place.partition(":")
    adapt = corpus.hub.row if corpus.hub and schema == HUB and colon else None
    return CorpusSource(corpus, _files(corpus, pattern if schema in (HUB, TFDS) and colon else place), adapt)


def _on_hub(corpus: Corpus, hub: Hub) -> HuggingFaceSource | Grouped:
    if hub.together:
        whole = {split: place.partition("[")[0] for split, place in corpus.splits.items()}
        slices = tuple((split, place.partition("[")[2] or "[:]") for split, place in corpus.splits.items())
        apart = _on_hub(dataclasses.replace(corpus, splits=whole), dataclasses.replace(hub, together=None))
        return Grouped(apart, hub.together, slices)
    places = {}
    for split, place in corpus.splits.items():
        own, bracket, inner = place.partition("[")
        if own in (rows := {**corpus.rows, **hub.rows}) and bracket:
            _, first, last = placed(place, rows)
            inner = f"{first}:{last}]"
        places[split] = f"{hub.splits.get(own, own)}{bracket}{inner}"
    folder = (hub.name or "default") if hub.revision == PARQUET else None
    source = hugging_face(hub.path, None if folder else hub.name, splits=places, revision=hub.revision)
    return dataclasses.replace(source, data_dir=folder, is_shuffled=hub.is_sorted)


def _files(corpus: Corpus, pattern: str) -> FileSource:
    """Files of our splits, which are cut already; or, of a corpus of one split, files that we cut."""
    known = next((ending for ending in sorted(_FORMATS, key=len, reverse=True) if pattern.endswith(ending)), None)
    whole = "{split}" not in pattern
    if known is None or (whole and len({place.partition("[")[0] for place in corpus.splits.values()}) > 1):
        raise UserError(
            f"Data.corpora has {pattern!r} for corpus {corpus.name!r}; it is 'tfds', 'hugging_face', or a pattern of "
            f"files such as 'data/{{corpus}}/{{split}}*.jsonl' (or {', '.join(_FORMATS)}) that has {{split}} in it."
        )
    if whole:
        slices = {split: f"[{place.partition('[')[2] or ':]'}" for split, place in corpus.splits.items()}
        return _FORMATS[known](pattern.format(corpus=corpus.name), splits=slices)
    return _FORMATS[known]({split: pattern.format(corpus=corpus.name, split=split) for split in corpus.splits})
