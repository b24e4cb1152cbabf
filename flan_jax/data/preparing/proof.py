"""Proves the loss masks of examples on their tokens, as these are about to be stored.

    targets    It is . <end>   \\n user And stone ? <end> assistant   No ! <end>
    weights     1  1 1   1     0    0   0    0   0   0       0        1 1   1
               a stretch                                              another

Looked at is what a store will hold: ids in its own type, and a loss weight for each target token. What made them is not
asked. Each stretch of tokens that bear loss is read back by the tokenizer's decoder and compared with the text that is
to be learnt there, blanks apart. `flan_jax.data.wrong_masks` lists what is found; an example counts under the
first of these that it shows.
"""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from flan_jax.data.stores.parts import token_dtype
from flan_jax.errors import UserError

OnWrong = Literal["drop", "refuse", "keep"]
SAID = 3  # sentences that are kept of a part and of a store
_LOT = 256
_SHORT = 16  # tokens of a stretch whose text is remembered, as that of an option is
_REMEMBERED = 16_384
_SHOWN = 60  # characters


@dataclasses.dataclass(frozen=True)
class Marks:
    """The ids that say where something begins and ends.

    Attributes:
      ends: those that end an answer; empty where none is wanted.
      want_end: whether an answer must end.
      every: whether each stretch must, not the last one alone: a template may write no end after earlier answers.
      may_go_on: whether an example that is one of several of a row may have no end.
      padding: the id that stands for nothing, -1 where there is none.
      begin: the one that begins a text, -1 where there is none.
      row_begins: whether a row begins with it by itself, so that no example has to.
      turns_begin: whether a template begins each turn with it.
      sentinels: the first id of those that stand for spans.
    """

    ends: frozenset[int]
    want_end: bool = True
    every: bool = True
    may_go_on: bool = False
    padding: int = -1
    begin: int = -1
    row_begins: bool = False
    turns_begin: bool = False
    sentinels: int = 2**31

    @functools.cached_property
    def nothing(self) -> frozenset[int]:
        """Those that say nothing."""
        return self.ends | {self.padding}


def marks_of(task: str) -> Marks:
    """The marks of a task's tokens, ours or another's, by its vocabulary and by what it declares."""
    import seqio

    from flan_jax.tasks import registry, vocabularies
    from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary

    recipe, feature = registry.recipe(task), seqio.get_mixture_or_task(task).output_features["targets"]
    tokenizer = _tokenizer(task)
    vocabulary = tokenizer.vocabulary
    ends, begin, every, padding = set(tokenizer.eos_ids), vocabulary.bos_id, True, -1
    row_begins = turns_begin = False
    if isinstance(vocabulary, TokenizerJsonVocabulary):
        row_begins = vocabulary.tokenizer.around[0] >= 0
        if recipe is not None and recipe.form == "chat":
            template = vocabularies.chat_template(vocabulary)
            assert template is not None
            turns_begin = _begins_turns(template, vocabulary.tokenizer.token("bos_token"), row_begins)
            every = vocabulary.tokenizer.first_special(template.after_answer()) is not None
    else:
        padding = int(vocabulary.pad_id)  # of seqio's vocabularies, 0
        ends.discard(padding)
    size, extra = int(vocabulary.vocab_size), int(vocabulary.extra_ids)
    return Marks(
        frozenset(ends),
        want_end=vocabulary.eos_id is not None and (recipe is not None or feature.add_eos),
        every=every,
        may_go_on=getattr(getattr(recipe, "declaration", None), "learns_all", False),
        padding=padding,
        begin=-1 if begin is None else int(begin),
        row_begins=row_begins,
        turns_begin=turns_begin,
        sentinels=size - extra,
    )


def _begins_turns(template: Any, token: str | None, row_begins: bool) -> bool:
    """Whether a chat template writes the token that begins a text again in a conversation's middle."""
    turns = [{"role": role, "content": "?"} for role in ("user", "assistant")] * 2
    try:
        return token is not None and template.render(turns).count(token) + row_begins > 1
    except UserError:  # it takes no such conversation
        return True


def _tokenizer(task: str) -> Any:
    import seqio

    from flan_jax.tasks import registry, vocabularies

    recipe = registry.recipe(task)
    own = seqio.get_mixture_or_task(task).output_features["targets"].vocabulary
    return vocabularies.tokenizer(own if recipe is None else recipe.vocabulary)


class Proof:
    """Hands on the examples whose masks are right.

    Args:
      task: the seqio task.
      split: of the examples.
      tally: a `flan_jax.tasks.tally.Tally`, gets the counts; an example that is left out is not among its `kept`.
      on_wrong: what becomes of a wrong one: "drop" leaves it out, "refuse" raises, "keep" only counts it.

    Attributes:
      said: sentences about the first wrong ones.
    """

    def __init__(self, task: str, split: str, tally: Any, on_wrong: OnWrong):
        self._task, self._split, self._tally, self._on_wrong = task, split, tally, on_wrong
        self._tokenizer = _tokenizer(task)
        self._marks = marks_of(task)
        self._dtype = token_dtype(int(self._tokenizer.vocabulary.vocab_size))
        self._known: dict[tuple[int, ...], str] = {}
        self.said: list[str] = []

    def __call__(self, found: Iterable[Any]) -> Iterator[Any]:
        """The examples in their order, without those that are left out.

        Raises:
          UserError: one is wrong, and such are refused.
        """
        from flan_jax.tasks.encoding import batched

        for lot in batched(found, _LOT):
            seen = [_Seen(example, self._dtype, self._marks) for example in lot]
            self._read([stretch for one in seen for stretch in one.stretches])
            for one in seen:
                if one.fault is None:
                    one.fault = self._fault_of_text(one)
                if one.fault is None:
                    self._tally.proved += 1
                elif not self._kept(one.example, *one.fault):
                    continue
                yield one.example

    def _kept(self, example: Any, check: str, what: str) -> bool:
        """Counts a wrong example; says whether it stays."""
        sentence = f"Task {self._task!r}, example {example.id!r}{self._where(str(example.id))}: {what}"
        if self._on_wrong == "refuse":
            raise UserError(f"{sentence}. {MEND}")
        setattr(self._tally, check, getattr(self._tally, check) + 1)
        if len(self.said) < SAID:
            self.said.append(sentence)
        if self._on_wrong == "keep":
            return True
        self._tally.kept -= 1
        return False

    def _where(self, example_id: str) -> str:
        from flan_jax.tasks import registry
        from flan_jax.tasks.example_ids import source_row

        recipe = registry.recipe(self._task)
        return "" if recipe is None else f" ({recipe.source.where(self._split, source_row(example_id))})"

    def _read(self, stretches: Sequence["_Stretch"]) -> None:
        """Reads stretches back by the tokenizer's decoder; short ones, which repeat, once for each."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        fresh = {one.ids for one in stretches if len(one.ids) <= _SHORT} - self._known.keys()
        rows = [*fresh, *(one.ids for one in stretches if len(one.ids) > _SHORT)]
        texts = self._tokenizer.decode_all(rows)
        self._known.update(zip(fresh, texts, strict=False))
        longer = iter(texts[len(fresh) :])
        for one in stretches:
            one.text = self._known[one.ids] if len(one.ids) <= _SHORT else next(longer)

    def _fault_of_text(self, one: "_Seen") -> tuple[str, str] | None:
        """What is wrong with the texts of an example's stretches."""
        if not one.stretches:
            return None
        cut = (
            one.example.cut_tokens > 0 or one.example.objective == "seqio"
        )  # whose preprocessors may cut by themselves
        whole = len(one.stretches) == len(one.learnt)
        if whole or cut and len(one.stretches) < len(one.learnt):
            last = len(one.stretches) - 1
            for number, (stretch, text) in enumerate(zip(one.stretches, one.learnt, strict=False)):
                if not self._reads_as(stretch, text, cut and number == last):
                    return _unlike(stretch, text, number)
            return None
        first, text = one.stretches[0], one.learnt[0] if one.learnt else ""
        if not _bare(first.text).startswith(_bare(text)):
            return _early(first, text)
        return (
            "wrong_text",
            f"{len(one.stretches)} stretches of it are trained, and {len(one.learnt)} texts to be learnt",
        )

    def _reads_as(self, stretch: "_Stretch", text: str, may_be_cut: bool) -> bool:
        """Whether a stretch holds a text, or the beginning of one that may be cut."""
        if stretch.text == text or not isinstance(stretch.text, str):  # a vocabulary that gives back no text
            return True
        found, wanted = _bare(stretch.text), _bare(text)
        if found == wanted or may_be_cut and wanted.startswith(found.rstrip("\ufffd")):
            return True
        # A vocabulary may not know all that the text has, or write it otherwise.
        (again,) = self._tokenizer.decode_all([self._tokenizer.encode_one(text)])
        known = _bare(again)
        if found == known or may_be_cut and known.startswith(found.rstrip("\ufffd")):
            return True
        # Special tokens within an answer are of the template's making, unless the text has them.
        plain = _bare(self._tokenizer.decode(stretch.ids))
        return plain == wanted or may_be_cut and wanted.startswith(plain.rstrip("\ufffd"))


MEND = (
    "Mend the task, or its model's chat template; or leave such examples out and count them with "
    "Data.on_wrong_mask = 'drop'."
)
_PART = re.compile(r"#\d+$")  # of an example that is one of several of a row


@dataclasses.dataclass(slots=True)
class _Stretch:
    """Tokens that bear loss, one after another, without the token that ends them; their text once it is read."""

    ids: tuple[int, ...]
    text: str = ""


class _Seen:
    """An example as it will be stored, and what its ids and weights alone show.

    Attributes:
      example: the example.
      learnt: the texts that it is to teach.
      stretches: what of it bears loss, where there are texts to compare with.
      fault: the count in a `Tally` and what is wrong; None where nothing shows.
    """

    __slots__ = ("example", "fault", "learnt", "stretches")

    def __init__(self, example: Any, dtype: str, marks: Marks):
        self.example, self.learnt = example, example.learnt
        self.stretches: list[_Stretch] = []
        ids = np.asarray(example.targets, dtype).tolist()
        runs = _runs(ids, example.weights)
        self.fault = _fault_of_ids(example, ids, runs, marks)
        if self.fault is None and self.learnt is not None and not _has_sentinels(example, runs, marks):
            if len(runs) != len(self.learnt):  # answers may stand next to each other
                runs = [piece for run in runs for piece in _cut_at(run, marks.ends)]
            self.stretches = [_Stretch(tuple(run[:-1] if run[-1] in marks.ends else run)) for run in runs]


def _runs(ids: list[int], weights: Any) -> list[list[int]]:
    """The ids that bear loss, those together that stand together."""
    if weights is None:
        return [ids] if ids else []
    bears = np.asarray(weights, np.float32) > 0
    borders = np.flatnonzero(np.diff(bears, prepend=False, append=False))
    return [ids[start:end] for start, end in zip(borders[::2].tolist(), borders[1::2].tolist(), strict=True)]


def _fault_of_ids(example: Any, ids: list[int], runs: list[list[int]], marks: Marks) -> tuple[str, str] | None:
    if not runs:
        return "wrong_untrained", f"none of its {len(ids)} target tokens bears loss"
    if runs[0][0] in marks.nothing and all(one in marks.nothing for run in runs for one in run):
        return "wrong_cut", "nothing of it bears loss but what ends an answer"
    if marks.begin >= 0:
        begins = ids.count(marks.begin) + int(np.count_nonzero(np.asarray(example.inputs) == marks.begin))
        if begins + marks.row_begins > 1 and not (marks.turns_begin and not _doubled(example, ids, marks)):
            more = ", and the row begins with it" if marks.row_begins else ""
            return "wrong_begin", f"the token that begins a text (id {marks.begin}) stands in it {_times(begins)}{more}"
    if marks.want_end and not (marks.may_go_on and _PART.search(str(example.id))):
        for number, run in enumerate(runs, 1):
            if (marks.every or number == len(runs)) and run[-1] not in marks.ends:
                return "wrong_end", _unended(run[-1], marks)
    return None


def _unended(last: int, marks: Marks) -> str:
    if last == marks.padding:
        return f"what it is trained on ends in padding (id {last}), not in a token that ends an answer"
    known = ", ".join(map(str, sorted(marks.ends))) or "none, as its vocabulary ends answers by padding"
    return f"what it is trained on ends in the token {last}, which ends no answer (those that do: {known})"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _doubled(example: Any, ids: list[int], marks: Marks) -> bool:
    """Whether the token that begins a text stands twice in a row, a turn's own among them."""
    whole = np.concatenate([[marks.row_begins], np.asarray(example.inputs) == marks.begin, np.equal(ids, marks.begin)])
    return bool((whole[1:] & whole[:-1]).any())


def _has_sentinels(example: Any, runs: list[list[int]], marks: Marks) -> bool:
    """Whether a task of other code is trained on spans of its text rather than on the text."""
    return example.objective == "seqio" and any(one >= marks.sentinels for run in runs for one in run)


def _cut_at(run: list[int], ends: frozenset[int]) -> Iterator[list[int]]:
    start = 0
    for place, one in enumerate(run, 1):
        if one in ends or place == len(run):
            yield run[start:place]
            start = place


def _unlike(stretch: _Stretch, text: str, number: int) -> tuple[str, str]:
    found, wanted = _bare(stretch.text), _bare(text)
    if number == 0 and wanted and found.find(wanted) > 0:
        return _early(stretch, text)
    return "wrong_text", f"what it is trained on reads {_short(stretch.text)} where its text is {_short(text)}"


def _early(stretch: _Stretch, text: str) -> tuple[str, str]:
    return "wrong_start", f"training starts before the answer {_short(text)}: at {_short(stretch.text)}"


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def _bare(text: str) -> str:
    """A text without its blanks."""
    return "".join(text.split())
