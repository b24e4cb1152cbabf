"""Rows of TensorFlow Datasets, read at any place where they are kept as ArrayRecord."""

import dataclasses
import functools
import itertools
import os
import re
import socket
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds_library
from etils import epath

from flan_jax.errors import UserError
from flan_jax.tasks.sources.parts import part
from flan_jax.tasks.sources.records import ArrayRecord
from flan_jax.tasks.sources.source import Row, Unavailable, check_split, plain
from flan_jax.tasks.tally import Tally


@dataclasses.dataclass(frozen=True)
class TfdsSource:
    """Rows of a data set of TFDS; made by `tfds`.

    What is downloaded here is kept as ArrayRecord, whose rows are read at any place without TensorFlow's runtime. A
    data set that was prepared in another format is read from its beginning, by tf.data.

    Attributes:
      name: with version and, where it has some, configuration.
      wanted: (split, place) pairs, such as ("validation", "train[-200:]"); empty for the splits it has.
      data_dir: where data sets lie; None for TFDS's own place.
    """

    name: str
    wanted: tuple[tuple[str, str], ...] = ()
    data_dir: str | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has; asks TFDS where they were not given."""
        return tuple(split for split, _ in self.wanted) or tuple(self._builder.info.splits)

    @property
    def file_splits(self) -> tuple[str, ...]:
        """None."""
        return ()

    def files(self, split: str) -> list[str]:
        """None: the name and its version tell the rows."""
        return []

    @property
    def is_at_hand(self) -> bool:
        """Whether it lies prepared in its folder already; nothing is downloaded to know."""
        return (epath.Path(self._place).expanduser() / self.name.replace(":", "/")).is_dir()

    @property
    def _place(self) -> str:
        return self.data_dir or os.environ.get("TFDS_DATA_DIR") or str(tfds_library.core.constants.DATA_DIR)

    @property
    def reads_anywhere(self) -> bool:
        """Whether its rows are read at any place, and without TensorFlow's runtime."""
        formats = self._builder.info.available_file_formats() or ()
        return self.is_at_hand and any(one.value == "array_record" for one in formats)

    @functools.cached_property
    def _builder(self) -> Any:
        """The data set's builder, prepared.

        Raises:
          Unavailable: it cannot be had.
        """
        how = {} if self.is_at_hand else {"file_format": "array_record"}
        try:
            builder = tfds_library.builder(self.name, data_dir=self.data_dir, **how)
            if how and _is_offline():  # TFDS would try for minutes
                raise ConnectionError(f"it is not prepared in {self._place}, and from here the network knows no names")
            builder.download_and_prepare()
        except Exception as error:  # each data set downloads in its own way, and fails in its own
            said = str(error).strip().partition("\n")[0][:200]
            raise Unavailable(
                f"TFDS cannot give {self.name!r} ({type(error).__name__}: {said}); check its name and version, or "
                f"prepare it (tfds build --file_format=array_record) and give its data_dir."
            ) from None
        return builder

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the order of its files, unshuffled; see `Source`."""
        check_split(split, self.splits, "name it in tfds(splits=...)")
        own = dict(self.wanted).get(split, split)
        if self.reads_anywhere:
            found = self._anywhere(own, start, stop)
        else:
            found = part(self, (own,), lambda number: self._from_beginning(own, number), start, stop)
        for number, row in enumerate(found, start):
            yield f"{split}:{number}", plain(row)

    def _anywhere(self, own: str, start: int, stop: int | None) -> Iterator[Any]:
        """Rows by their numbers; TFDS's own random access hangs in a process that was forked after it was used."""
        info, reader = self._builder.info, ArrayRecord()
        for file in info.splits[own].file_instructions:
            first, last = max(0, start), file.take if stop is None else min(file.take, stop)
            start, stop = start - file.take, None if stop is None else stop - file.take
            if first < last:
                records = reader.units(str(file.filename), file.skip + first)
                for _, record in itertools.islice(records, last - first):
                    yield info.features.deserialize_example_np(record)

    def _from_beginning(self, own: str, number: int) -> Iterator[Any]:
        # A file after the other, which is the order of ArrayRecord too.
        how = tfds_library.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        dataset = self._builder.as_dataset(split=own, shuffle_files=False, read_config=how)
        return iter(tfds_library.as_numpy(dataset.skip(number) if number else dataset))

    def where(self, split: str, row_id: str) -> str:
        """The data set and the row's number."""
        return f"row {row_id.rpartition(':')[2]} of TFDS's {self.name} {split!r}"

    def num_rows(self, split: str) -> int | None:
        """What the data set says of itself."""
        own = dict(self.wanted).get(split, split)
        known = self._builder.info.splits
        return known[own].num_examples if own.partition("[")[0] in known else None


@functools.cache
def _is_offline() -> bool:
    """Whether the network knows no names; behind a proxy it need not."""
    if urllib.request.getproxies():
        return False
    try:
        socket.getaddrinfo("storage.googleapis.com", 443)
    except OSError:
        return True
    return False


def tfds(
    name: str,
    *,
    splits: Iterable[str] | Mapping[str, str] | None = None,
    data_dir: str | None = None,
) -> TfdsSource:
    """A data set of TensorFlow Datasets, prepared beforehand (`tfds build`) or downloaded when it is first read.

    Args:
      name: with its version, and its configuration where it has some: "glue/cola:2.0.0". Without a version a new
        release would change the data unseen.
      splits: the names of the splits to use, or a mapping of names to TFDS's slices, for example
        {"train": "train[1%:]", "validation": "train[:1%]"}; None for those it has.
      data_dir: where data sets lie; TFDS's own place by default.

    Raises:
      UserError: the name has no version.
    """
    if not re.fullmatch(r"[^:]+:\d+\.\d+\.\d+", name):
        raise UserError(
            f"tfds({name!r}): a version is wanted, for example tfds('glue/cola:2.0.0'), so that the data stay the same."
        )
    pairs = splits.items() if isinstance(splits, Mapping) else [(split, split) for split in splits or ()]
    return TfdsSource(name, tuple(pairs), data_dir)
