"""What rows of a training mixture share with rows that are scored: runs of words, and whole prompts.

An index of the eval rows is made once and mapped by every process that looks:

    runs.npy     sorted hashes of all their runs of `ngram` words      owners.npy   the first eval row that has each
    exact.npy    sorted hashes of prompts (and answers)                shared.npy   how many eval rows have each
    rows.jsonl   [task, id, place, the beginning of its text] of each eval row

A rate alone misleads: what is told of an overlap is the longest span, the row it is found in, and how many eval rows
have it, as what many have is a phrase of the form rather than a leaked row. In memory 16 bytes a run of the eval rows:
for a million rows of 100 words 1.6 GB, for FLAN's held-out sets some 100 MB.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from flan_jax.data.hygiene import words
from flan_jax.data.planning.order import mix

#: A prompt of fewer words says little by itself: it is the same row only where its answer is the same too.
TELLING_WORDS = 8
_SHOWN = 160  # letters of a row


@dataclasses.dataclass(frozen=True, slots=True)
class EvalRow:
    """A row that is scored.

    Attributes:
      task: its task.
      id: its id.
      place: where it stands, in words.
      text: its prompt and answer.
      salt: see `words.salt_of`.
    """

    task: str
    id: str
    place: str
    text: str
    salt: int = 0


def exact_keys(prompt: str, answer: str, salt: int = 0) -> list[int]:
    """By what two rows, normalised, are known to be one: their prompt where it is telling, and prompt with answer.

    Args:
      prompt: of a row.
      answer: of it.
      salt: of its instruction, see `words.salt_of`.
    """
    if not prompt:
        return []
    asked = words.digest(answer)
    both = int(mix(words.digest(prompt), int(mix(salt, asked)) if salt else asked, 1))
    return [both, words.digest(prompt)] if words.count(prompt) >= TELLING_WORDS else [both]


def write_index(folder: pathlib.Path, found: Iterable[tuple[EvalRow, str, str]], ngram: int) -> int:
    """Makes the index of eval rows.

    Args:
      folder: where it lies.
      found: each row, with its normalised prompt and answer.
      ngram: words of a run.

    Returns:
      How many rows it has.
    """
    hashes: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    keys: list[tuple[int, int]] = []
    count = 0
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number, (row, prompt, answer) in enumerate(found):
            made, _ = words.runs([prompt, answer], ngram)
            made = np.unique(made)
            hashes.append(made)
            owners.append(np.full(len(made), number, np.int32))
            keys += [(key, number) for key in exact_keys(prompt, answer)]
            file.write(json.dumps([row.task, row.id, row.place, row.text[:_SHOWN]]) + "\n")
            count = number + 1
    every = np.concatenate([np.zeros(0, np.uint64), *hashes])
    owner = np.concatenate([np.zeros(0, np.int32), *owners])
    runs, first, shared = np.unique(every, return_index=True, return_counts=True)
    exact = np.array(keys, np.uint64).reshape(-1, 2)
    _, firsts = np.unique(exact[:, 0], return_index=True)
    for name, values in (
        ("runs", runs),
        ("owners", owner[first]),
        ("shared", shared.astype(np.int32)),
        ("exact", exact[firsts]),
    ):
        np.save(folder / f"{name}.npy", values)
    return count


class Index:
    """The index of eval rows, mapped.

    Args:
      folder: where `write_index` put it.
      ngram: words of a run.
    """

    def __init__(self, folder: pathlib.Path, ngram: int):
        self.folder, self.ngram = folder, ngram
        names = ("runs", "owners", "shared", "exact")
        self._runs, self._owners, self._shared, exact = (_mapped(folder / f"{name}.npy") for name in names)
        self._exact = dict(zip(exact[:, 0].tolist(), exact[:, 1].tolist(), strict=True))

    @functools.cached_property
    def rows(self) -> list[EvalRow]:
        """The eval rows."""
        with (self.folder / "rows.jsonl").open(encoding="utf-8") as file:
            return [EvalRow(*json.loads(line)) for line in file]

    def overlaps(self, rows: Sequence[tuple[str, str]]) -> list[dict[str, Any] | None]:
        """What each row shares with an eval row.

        Args:
          rows: normalised prompts and answers.

        Returns:
          For each None, or {"why": "eval row" or "overlap", "row": the eval row's number, "span": the words shared,
          "words": how many, "evals": how many eval rows have (the rarest run of) them}.
        """
        made, offsets = words.runs([text for pair in rows for text in pair], self.ngram)
        place = np.searchsorted(self._runs, made)
        place[place == len(self._runs)] = 0
        met = self._runs[place] == made if len(self._runs) else np.zeros(len(made), bool)
        counts = np.add.reduceat(np.append(met, False), offsets[:-1]) * (np.diff(offsets) > 0)
        found: list[dict[str, Any] | None] = []
        for number, (prompt, answer) in enumerate(rows):
            whole = next((self._exact[key] for key in exact_keys(prompt, answer) if key in self._exact), None)
            if whole is not None:
                length = words.count(prompt)
                found.append({"why": "eval row", "row": whole, "span": prompt, "words": length, "evals": 1})
                continue
            spans = []
            for side, text in enumerate((prompt, answer)):
                if counts[2 * number + side]:
                    here = slice(offsets[2 * number + side], offsets[2 * number + side + 1])
                    spans.append(self._longest(text, met[here], place[here]))
            found.append(max(spans, key=lambda span: span["words"], default=None))
        return found

    def _longest(self, text: str, met: np.ndarray, place: np.ndarray) -> dict[str, Any]:
        """The longest stretch of a text all of whose runs are met."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], met, [False]]).astype(np.int8)))
        starts, ends = edges[::2], edges[1::2]
        longest = int(np.argmax(ends - starts))
        start, end = int(starts[longest]), int(ends[longest])
        shared = np.asarray(self._shared[place[start:end]])
        rarest = start + int(np.argmin(shared))
        span = text.split(" ")[start : end + self.ngram - 1]
        return {
            "why": "overlap",
            "row": int(self._owners[place[rarest]]),
            "span": " ".join(span),
            "words": len(span),
            "evals": int(shared.min()),
        }


def _mapped(path: pathlib.Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode="r")
    except ValueError:  # there is nothing in it
        return np.load(path)


@functools.lru_cache(maxsize=1)
def opened(folder: str, ngram: int) -> Index:
    """An `Index`, mapped once a process."""
    return Index(pathlib.Path(folder), ngram)
