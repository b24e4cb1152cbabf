"""What the examples of a store say, in the store's order: read from their source anew, without a token.

    row     all examples of one row of the source (a long text is cut into several): first, count
    columns of each row, hashes of its normalised prompt and answer and its words: 36 bytes, kept beside the store

    contents-00003-DIGEST.npy      the columns of part 3; DIGEST is of that part and of the rules of `words`

Of tasks of other code nothing but the tokens is known for sure, so what they stand for is compared.
"""

import dataclasses
import io
import itertools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from flan_jax.data.hygiene import words
from flan_jax.data.planning.order import mix
from flan_jax.data.preparing import chunks, forks
from flan_jax.data.preparing.jobs import Job, is_one_piece
from flan_jax.data.request import Request
from flan_jax.data.stores import mirror, remote
from flan_jax.data.stores import store as stores
from flan_jax.files import atomic

_LOT = 512

Item = TypeVar("Item")

COLUMNS = np.dtype(
    [("prompt", "<u8"), ("answer", "<u8"), ("words", "<u4"), ("given", "<u4"), ("first", "<i8"), ("count", "<i4")]
)
"""Of a row: hashes, words of both, words of the prompt, its first example in the store, how many it has."""


@dataclasses.dataclass(frozen=True, slots=True)
class Said:
    """One row of a store, or one of the several things that are made of a row.

    Attributes:
      id: its own.
      first: its first example in the store.
      count: how many examples it has.
      prompt: as it stands in the source.
      answer: as it stands there.
      known: whether it was found there.
      instruction: what is asked for, where the row says it.
    """

    id: str
    first: int
    count: int
    prompt: str = ""
    answer: str = ""
    known: bool = False
    instruction: str = ""

    @property
    def salt(self) -> int:
        """See `words.salt_of`."""
        return words.salt_of(self.instruction)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a store, whose rows are looked at together.

    Attributes:
      job: the store.
      number: of the part; None for all of a store that cannot be cut by rows.
      first: the first example's index in the store.
      digest: tells whether what is kept of it is of the same content.
    """

    job: Job
    number: int | None
    first: int
    digest: str

    @property
    def path(self) -> pathlib.Path:
        """Where its columns are kept."""
        return self.job.target / f"contents-{self.number or 0:05}-{self.digest}.npy"


def pieces_of(job: Job, request: Request) -> list[Piece]:
    """The pieces of a whole store, in order; of one at an address, all is fetched that is not on this machine."""
    parts = stores.read_manifest(job.target)["parts"]
    files = [stores.part_path(job.target, number) for number in range(len(parts))]
    mirror.together(mirror.download, [file for file in files if not file.exists()])
    digests = [f"{part['sha256'][:12]}-{words.RULES}" for part in parts]
    if is_one_piece(job, request):
        return [Piece(job, None, 0, digests[0] if len(digests) == 1 else f"{digests[0]}-{len(digests)}")]
    starts = itertools.accumulate((part["count"] for part in parts), initial=0)
    return [
        Piece(job, number, first, digest) for number, (first, digest) in enumerate(zip(starts, digests, strict=False))
    ]


def rows_of(piece: Piece, request: Request) -> Iterator[Said]:
    """The rows of a piece and what they say, in the store's order."""
    from flan_jax.tasks import examples

    if not examples.is_ours(piece.job.task):
        yield from _decoded(piece)
        return
    start, stop = 0, None
    if piece.number is not None:
        rows = chunks.rows_of(piece.job, piece.number, request)
        start, stop = rows.start, rows.stop
    grouped = _grouped(ids_of(piece), piece.first)
    place = {row_id: number for number, (row_id, _, _) in enumerate(grouped)}
    done = 0
    contents = examples.contents(piece.job.task, request.split, start=start, stop=stop)
    for row_id, made in itertools.groupby(contents, key=lambda content: content.row):
        if (here := place.get(row_id, -1)) < done:
            continue
        yield from itertools.chain.from_iterable(_said(*one, ()) for one in grouped[done:here])
        yield from _said(*grouped[here], made)
        done = here + 1
        if done == len(grouped):
            return
    yield from itertools.chain.from_iterable(_said(*one, ()) for one in grouped[done:])


def _said(row_id: str, first: int, ids: Sequence[str], made: Iterable[Any]) -> Iterator[Said]:
    """What the examples of a row say: together, or each by itself where several things were made of the row."""
    known = {content.id: content for content in made}

    def owner(example_id: str) -> str:
        while example_id not in known and example_id != row_id:
            example_id = example_id.rpartition("#")[0]
        return example_id

    for content_id, group in itertools.groupby(map(owner, ids)):
        count, content = sum(1 for _ in group), known.get(content_id)
        texts = () if content is None else (content.prompt, content.answer, True, content.instruction)
        yield Said(content_id, first, count, *texts)
        first += count


def ids_of(piece: Piece) -> Iterator[str]:
    """The ids of a piece's examples, in the store's order."""
    numbers = [piece.number] if piece.number is not None else range(len(stores.Store(piece.job.target).ends))
    for number in numbers:
        columns = remote.part(stores.part_path(piece.job.target, number)).columns
        offsets, text = columns["id.offsets"].tolist(), columns["id.values"].tobytes()
        for start, end in itertools.pairwise(offsets):
            yield text[start:end].decode()


def _grouped(ids: Iterable[str], first: int) -> list[tuple[str, int, list[str]]]:
    """Each row's id, its first example, and the ids of its examples."""
    from flan_jax.tasks.example_ids import source_row

    found = []
    for row_id, group in itertools.groupby(ids, key=source_row):
        every = list(group)
        found.append((row_id, first, every))
        first += len(every)
    return found


def _decoded(piece: Piece) -> Iterator[Said]:
    from flan_jax.tasks import registry, vocabularies

    features = registry.seqio_task(piece.job.task).output_features
    decoders = {name: vocabularies.tokenizer(feature.vocabulary) for name, feature in features.items()}
    store = stores.Store(piece.job.target)
    for index in range(store.count):
        kept = store[index]
        prompt = decoders["inputs"].decode(kept.inputs) if "inputs" in decoders and len(kept.inputs) else ""
        yield Said(kept.id, index, 1, prompt, decoders["targets"].decode(kept.targets), True)


def lots(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Lists of some hundred items, to be hashed together."""
    iterator = iter(items)
    while lot := list(itertools.islice(iterator, _LOT)):
        yield lot


def column_of(said: Said, prompt: str, answer: str) -> tuple[int, ...]:
    """The columns of a row, of its normalised prompt and answer."""
    given, asked = words.count(prompt), words.digest(answer)
    if salt := said.salt:
        asked = int(mix(np.array([salt], np.uint64), np.array([asked], np.uint64))[0])
    return (words.digest(prompt), asked, given + words.count(answer), given, said.first, said.count)


def columns(piece: Piece, request: Request) -> np.ndarray:
    """The columns of a piece's rows, `COLUMNS` [rows]: those kept, or read from the source and kept."""
    if (found := kept_columns(piece)) is None:
        rows = rows_of(piece, request)
        found = np.array(
            [column_of(said, words.normalised(said.prompt), words.normalised(said.answer)) for said in rows], COLUMNS
        )
        keep_columns(piece, found)
    return found


def kept_columns(piece: Piece) -> np.ndarray | None:
    """What is kept of a piece; None where nothing is that can be read."""
    try:
        found = np.load(piece.path)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == COLUMNS else None


def keep_columns(piece: Piece, found: np.ndarray) -> None:
    """Keeps the columns of a piece; where nothing can be written, they are read again the next time."""
    file = io.BytesIO()
    np.save(file, found)
    try:
        atomic.write_bytes(piece.path, [file.getvalue()])
    except OSError:
        return


def spread(
    look: Callable[..., Any], pieces: list[Piece], *arguments: Any, told: Callable[[int, str], None]
) -> Iterator[Any]:
    """Calls `look(piece, *arguments)` for each piece, on all cores, and gives what it returns in order.

    Args:
      look: a function of a module.
      pieces: what to look at.
      *arguments: what else it takes.
      told: told how many are done, and the task of the last.
    """
    from flan_jax.tasks import examples

    pool = forks.workers() if len(pieces) > 1 else None
    waiting: dict[int, Any] = {}
    given = 0
    for number, piece in enumerate(pieces):
        # So many are under way that no core waits, and no more, whatever each returns.
        while pool is not None and given < min(len(pieces), number + 3 * forks.cores()):
            if not examples.needs_tensorflow(pieces[given].job.task):  # which does not survive a fork
                waiting[given] = pool.submit(look, pieces[given], *arguments)
            given += 1
        with forks.whole("looks for duplicates and leaks"):
            found = waiting.pop(number).result() if number in waiting else look(piece, *arguments)
        told(number + 1, piece.job.task)
        yield found
