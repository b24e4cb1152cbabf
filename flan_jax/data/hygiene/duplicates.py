"""Rows that say the same as another, or nearly so: which stay, and which twin each of the others has.

    exact   equal hashes of prompt and answer (128 bits), found by sorting
    near    MinHash (rensa) of runs of five words: 128 hashes a row; bands of them are buckets, and rows that share a
            bucket are compared by how many of their hashes are equal, which is their similarity within 0.04

Who stays is decided in one pass over the rows in order of who comes first: a row is left out where one before it that
stays is like it. So every row that is left out has a twin that is trained on, and the order in which pieces were looked
at changes nothing.

In memory, of N rows with C likely duplicates among them: 36 N bytes of columns, 24 N for sorting, 17 N for a band at a
time, and 400 C; on disk 256 N bytes of signatures and 8 N a band. For 10 million rows of which a tenth are likely: 0.8
GB and 4 GB.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from flan_jax.data.hygiene import words
from flan_jax.data.hygiene.contents import COLUMNS
from flan_jax.data.planning.order import mix
from flan_jax.errors import UserError

SIZE = 128  # hashes of a signature
RUN = 5  # words
_SEED = 20_210_903
_SURE = 0.99  # of two rows just as alike as is wanted, how many share a bucket


@dataclasses.dataclass(frozen=True)
class Twins:
    """What was found, a value a row.

    Attributes:
      twin: int64 [N], the row that stays in its place; -1 for one that stays.
      similarity: float32 [N], how alike the two are.
    """

    twin: np.ndarray
    similarity: np.ndarray


def order_of(columns: np.ndarray, stays: str) -> np.ndarray:
    """The rows in order of who stays: as they come, or the longest first; int64 [N].

    >>> rows = np.zeros(3, COLUMNS)
    >>> rows["words"] = [2, 9, 9]
    >>> order_of(rows, "first").tolist(), order_of(rows, "longest").tolist()
    ([0, 1, 2], [1, 2, 0])
    """
    if stays == "first":
        return np.arange(len(columns))
    return np.argsort(-columns["words"].astype(np.int64), kind="stable")


def exact(columns: np.ndarray, order: np.ndarray, among: np.ndarray) -> np.ndarray:
    """The twin of each row that says the same as one that comes before it.

    Args:
      columns: `COLUMNS` [N].
      order: from `order_of`.
      among: bool [N], the rows that are looked at.

    Returns:
      int64 [N], -1 for rows without.
    """
    assert columns.dtype == COLUMNS
    twin = np.full(len(columns), -1)
    order = order[among[order]]
    # Sorting is stable: of equal ones the first to stay comes first.
    order = order[np.argsort(columns["answer"][order], kind="stable")]
    order = order[np.argsort(columns["prompt"][order], kind="stable")]
    if not len(order):
        return twin
    keys = columns[["prompt", "answer"]][order]
    starts = np.concatenate([[True], keys[1:] != keys[:-1]])
    leader = order[np.flatnonzero(starts)[np.cumsum(starts) - 1]]
    twin[order[~starts]] = leader[~starts]
    return twin


def bands_of(similarity: float) -> tuple[int, int]:
    """How many bands of how many hashes find nearly all rows so alike, and few others.

    >>> bands_of(0.8), bands_of(0.5)
    ((21, 6), (42, 3))
    """
    for width in range(16, 0, -1):
        count = SIZE // width
        if 1 - (1 - similarity**width) ** count >= _SURE:
            return count, width
    return SIZE, 1


def check_installed() -> None:
    """Refuses to look for near duplicates without what makes signatures.

    Raises:
      UserError: rensa is not installed.
    """
    try:
        import rensa  # noqa: F401
    except ImportError:
        raise UserError(
            "Hygiene.duplicates 'near' needs rensa, which is not installed; run `pip install 'flan-jax[hygiene]'`, or "
            "set it to 'exact'"
        ) from None


def signatures(texts: Sequence[str], salts: Sequence[int] = ()) -> np.ndarray:
    """MinHash signatures of normalised texts.

    Args:
      texts: N of them.
      salts: a number each, or none for 0; texts of other numbers are not alike.

    Returns:
      uint32 [N, SIZE].
    """
    import rensa

    hashes, offsets = words.runs(texts, RUN, short=True)
    if any(salts):
        each = np.repeat(np.array(salts, np.uint64), np.diff(offsets).astype(np.int64))
        hashes = np.where(each != 0, mix(each, hashes), hashes)
    made = rensa.RMinHash.digest_matrix_from_flat_token_hashes(hashes, offsets.astype(np.uint64), SIZE, _SEED)
    return np.array(made.to_rows(), np.uint32).reshape(len(texts), SIZE)


class SignatureFiles:
    """The signatures of pieces on disk, as far as they are compared: the bands' hashes, and 16 bits of each hash.

    Args:
      folder: where they lie.
      similarity: what is looked for.
    """

    def __init__(self, folder: pathlib.Path, similarity: float):
        self.folder, self.similarity = folder, similarity
        self.bands, self.width = bands_of(similarity)

    def write(self, number: int, found: np.ndarray) -> None:
        """Writes the signatures of a piece."""
        banded = found[:, : self.bands * self.width].reshape(len(found), self.bands, self.width)
        keys = mix(np.arange(self.bands), *(banded[:, :, place] for place in range(self.width)))
        np.save(self.folder / f"bands-{number}.npy", np.ascontiguousarray(keys.T))
        np.save(self.folder / f"signatures-{number}.npy", found.astype(np.uint16))

    def band(self, band: int, pieces: int) -> np.ndarray:
        """The hashes of a band of all rows, uint64 [N]."""
        every = [np.load(self.folder / f"bands-{number}.npy", mmap_mode="r")[band] for number in range(pieces)]
        return np.concatenate([np.zeros(0, np.uint64), *every])

    def signatures(self, rows: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The signatures of some rows, in that order; `ends` are where the pieces' rows end."""
        found = np.empty((len(rows), SIZE), np.uint16)
        piece = np.searchsorted(ends, rows, side="right")
        starts = np.concatenate([[0], ends])
        for number in np.unique(piece):
            here = np.flatnonzero(piece == number)
            found[here] = np.load(self.folder / f"signatures-{number}.npy", mmap_mode="r")[rows[here] - starts[number]]
        return found


def near(files: SignatureFiles, ends: np.ndarray, order: np.ndarray, among: np.ndarray) -> Twins:
    """The twin of each row that is like one which comes before it and stays.

    Args:
      files: the signatures of all pieces.
      ends: int64, where each piece's rows end among all.
      order: from `order_of`.
      among: bool [N], the rows that are looked at.
    """
    from flan_jax.data.hygiene import run_kernels

    rows = len(order)
    likely = np.zeros(rows, bool)
    for band in range(files.bands):
        likely |= _shared(files.band(band, len(ends)), among)
    candidates = order[likely[order]]
    found = Twins(np.full(rows, -1), np.zeros(rows, np.float32))
    if not len(candidates):
        return found
    buckets = np.full((len(candidates), files.bands), -1, np.int32)
    made = 0
    for band in range(files.bands):
        keys = files.band(band, len(ends))[candidates]
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        shared = counts > 1
        numbers = np.where(shared, made + np.cumsum(shared) - 1, -1)
        buckets[:, band] = numbers[inverse]
        made += int(shared.sum())
    signed = files.signatures(candidates, ends)
    wanted = int(np.ceil(files.similarity * SIZE - 1e-9))
    twin = np.empty(len(candidates), np.int64)
    links = np.full(buckets.size, -1)
    run_kernels.twins(signed, buckets, np.full(made, -1), np.full(made, -1), links, wanted, twin)
    has = twin >= 0
    found.twin[candidates[has]] = candidates[twin[has]]
    found.similarity[candidates[has]] = (signed[has] == signed[twin[has]]).mean(axis=1)
    return found


def _shared(keys: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Which rows have a key that another of them has too."""
    places = np.flatnonzero(among)
    places = places[np.argsort(keys[places], kind="stable")]
    ordered = keys[places]
    same = ordered[1:] == ordered[:-1]
    found = np.zeros(len(keys), bool)
    found[places[1:][same]] = found[places[:-1][same]] = True
    return found
