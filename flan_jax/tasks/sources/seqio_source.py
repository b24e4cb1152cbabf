"""Rows of any seqio data source."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import seqio
import tensorflow_datasets as tfds_library

from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.tasks.sources.parts import part
from flan_jax.tasks.sources.source import Row, check_split, plain
from flan_jax.tasks.tally import Tally
from flan_jax.tasks.user_functions import made_rows


@dataclasses.dataclass(frozen=True)
class SeqioSource:
    """Rows of a seqio data source, its tensors turned into text and lists; bytes are read as UTF-8."""

    source: seqio.DataSource

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits it has."""
        with _told(self.source):
            return tuple(self.source.splits)

    @property
    def file_splits(self) -> tuple[str, ...]:
        """The splits that are read from files that can be named."""
        return tuple(getattr(self.source, "_split_to_filepattern", {}))

    def files(self, split: str) -> list[str]:
        """The files, where the source is one of seqio's that read files."""
        pattern = getattr(self.source, "_split_to_filepattern", {}).get(split)
        patterns = [pattern] if isinstance(pattern, str) else list(pattern or [])
        return sorted(path for one in patterns for path in filesystem.matching(one))

    def rows(
        self, split: str, on_bad_row: str = "error", tally: Tally | None = None, start: int = 0, stop: int | None = None
    ) -> Iterator[tuple[str, Row]]:
        """Yields (id, row) in the source's order, unshuffled; see `Source`."""
        check_split(split, self.splits, "ask for one of these")

        def open_at(number: int) -> Iterator[Any]:
            def made() -> Iterable[Any]:
                with _told(self.source):
                    dataset = self.source.get_dataset(split=split, shuffle=False)
                return tfds_library.as_numpy(dataset.skip(number) if number else dataset)

            return made_rows(made, lambda at: self.where(split, f"{split}:{at}"), first=number)

        for number, row in enumerate(part(self.source, (split, *self._state(split)), open_at, start, stop), start):
            row = plain(row)
            yield f"{split}:{number}", row if isinstance(row, dict) else {"text": row}

    def _state(self, split: str) -> list[tuple[int, str, str]]:
        with contextlib.suppress(UserError):  # TensorFlow may know addresses that fsspec has no package for
            return [filesystem.state(path) for path in self.files(split)]
        return []

    def where(self, split: str, row_id: str) -> str:
        """The source's class and the row's number."""
        return f"row {row_id.rpartition(':')[2]} of {type(self.source).__name__} {split!r}"

    def num_rows(self, split: str) -> int | None:
        """What the source says."""
        with _told(self.source):
            return self.source.num_input_examples(split)


@contextlib.contextmanager
def _told(source: seqio.DataSource) -> Iterator[None]:
    """Says in a sentence that a TFDS data set is not there; its own error lists all there are."""
    try:
        yield
    except tfds_library.core.DatasetNotFoundError as error:
        name = getattr(source, "tfds_dataset", source)
        wanted = getattr(name, "name", type(source).__name__)
        raise UserError(
            f"TFDS has no data set {wanted!r} ({str(error).splitlines()[0]}); check its name and version, or prepare "
            f"it (tfds build) and give its data_dir."
        ) from None
