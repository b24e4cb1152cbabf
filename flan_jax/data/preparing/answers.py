"""What else the parent asks of the tasks themselves; each function answers one operation in the child process."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from flan_jax.data.preparing.references import references
from flan_jax.data.preparing.resolving import (
    may_be_left_out,
    members,
    members_of,
    none_kept,
    rates_of,
    vocabulary_of,
)
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.errors import UserError

_LEAST_PIECES = 512
_SAMPLE_DRAWS = 16
_LEAST_SAMPLE, _WHOLE_SAMPLE = 20, 8000  # examples that an estimate looks at: of each task, and of all


def estimate_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], request: Request, sample: int
) -> dict[str, Any]:
    """Answers `estimate`: lengths of the first examples of each task, and how many there are, without storing any."""
    import seqio

    from flan_jax.tasks import examples, rates, shared_vocabulary
    from flan_jax.tasks.example_ids import source_row

    found, mixture = [], request.mixture
    names = members_of(request)
    empty: list[UserError] = []
    vocabulary, _ = shared_vocabulary.shared(names, mixture)
    sample = max(_LEAST_SAMPLE, min(sample, _WHOLE_SAMPLE // len(names)))
    for done, name in enumerate(names):
        progress(what="sampling", done=done, total=len(names), unit="task", name=name)
        tally = examples.Tally()
        options = {**request.reading(), "limit": sample, "tally": tally}
        lengths, trainable, rows_met = [], [], set()
        from_sample = examples.only_sample(name)
        for example in _sampled(name, request, from_sample, options):
            lengths.append([len(example.inputs), len(example.targets)])
            loss = example.weights
            trainable.append(len(example.targets) if loss is None else int((loss > 0).sum()))
            rows_met.add(source_row(example.id))  # a long text is cut into several examples
        if not lengths:
            fault = none_kept(name, mixture, request.split, dataclasses.asdict(tally))
            if not may_be_left_out(name, dataclasses.asdict(tally), names):
                raise fault
            empty.append(fault)
            continue
        rows = seqio.get_mixture_or_task(name).num_input_examples(request.split)
        count, scaled = _of_whole(len(lengths), len(rows_met), tally, rows if len(lengths) == sample else None)
        if from_sample:
            count, scaled = rows or count, {}
        facts = {"lengths": lengths, "trainable": trainable, "rows": rows, "form": examples.prompt_facts(name)["form"]}
        about = examples.describe(name)
        facts |= {"from_sample": from_sample, "objective": about["objective"], "cluster": about.get("cluster", "")}
        found.append({"name": name, **facts, "count": count, "tally": scaled})
    if empty and not found:
        raise empty[0]
    counts = dict.fromkeys(names, 0) | {task["name"]: task["count"] for task in found}
    rate_of = rates_of(request, counts)
    caps = rates.caps_of(mixture)
    for task in found:
        task["rate"], task["cap"] = rate_of[task["name"]], caps.get(task["name"])
    progress(what="sampling", done=len(names), total=len(names), unit="task", name="")
    return {"tasks": found, "vocabulary": vocabulary}


def _sampled(name: str, request: Request, from_sample: bool, options: Mapping[str, Any]) -> Iterable[Any]:
    """The first examples of a task; where its corpus is not at hand, the corpus's own sample as many draws word it."""
    from flan_jax.tasks import examples

    for draw in range(_SAMPLE_DRAWS if from_sample else 1):
        how = {**options, "draw": draw, "from_sample": from_sample}
        yield from examples.examples(name, request.split, request.lengths, **how)


def _of_whole(looked_at: int, rows_met: int, tally: Any, rows: int | None) -> tuple[int, dict[str, int]]:
    """How many examples a task will keep, and what will be counted, from those looked at and the rows they are of.

    Rows are read ahead of the examples that are made of them, so what is counted of rows goes by `tally.read`. `rows`
    is None where the source has no more than was read, or does not know.
    """
    if rows is None:
        return looked_at, dataclasses.asdict(tally)
    by_row = rows / max(1, tally.read * rows_met / looked_at)
    sound = rows - (tally.dropped + tally.bad_rows) * by_row
    by_example = sound / (rows_met + tally.too_long)
    scaled = {key: round(getattr(tally, key) * by_row) for key in ("read", "dropped", "bad_rows")}
    scaled |= {key: round(getattr(tally, key) * by_example) for key in ("truncated", "too_long")}
    return max(1, round(looked_at * by_example)), scaled


def preview_in_child(*, setup: WorkerSetup, progress: Callable[..., None], **arguments: Any) -> list[dict]:
    """Answers `preview`: a few examples of a task, or of some tasks of a mixture, straight from the source."""
    from flan_jax.tasks import preview

    names, num = members(arguments.pop("task")), arguments.pop("num")
    found = []
    for name in names[:num]:
        examples = preview.preview(task=name, num=max(1, num // len(names)), **arguments)
        found += [{"task": name, **example} for example in examples]
    return found


def score_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], jobs: Sequence[Mapping[str, Any]], request: Request
) -> list[dict[str, Any]]:
    """Answers `score`: the tasks' own metrics of what a model gave, one job a task.

    A job has "task", "store" (the folder that holds the examples which were predicted) and the fields of
    `measures.Outputs`; each answer those of `measures.Measured`. A task that cannot be scored at all is told like a
    metric that fails.
    """
    from flan_jax.tasks import examples, measures
    from flan_jax.tasks.user_functions import raised

    answers = []
    for job in jobs:
        outputs = measures.Outputs(**{name: value for name, value in job.items() if name not in ("task", "store")})
        try:
            compared = references(job["task"], job["store"], request)
            found = examples.measured(job["task"], request.split, outputs, compared)
        except (Exception, SystemExit) as error:
            said = str(error) if isinstance(error, UserError) else raised(error)
            found = measures.Measured(failures=[f"Task {job['task']!r} could not be scored: {said.rstrip('.')}."])
        answers.append(dataclasses.asdict(found))
    return answers


def vocabulary_in_child(
    *,
    setup: WorkerSetup,
    progress: Callable[..., None],
    mixture: str,
    split: str,
    size: int,
    output: str,
    max_examples: int,
    on_bad_row: Literal["error", "skip"],
    shrink: bool = False,
) -> dict[str, Any]:
    """Answers `vocabulary`: trains a SentencePiece vocabulary on a mixture's rendered text.

    With `shrink`, texts too few for so many pieces get half as many, and so on down to 512, and those too few even for
    that as many as they have.
    """
    from flan_jax.tasks import vocabularies
    from flan_jax.tasks.texts import texts

    names = members(mixture)
    each = max(1, max_examples // len(names))

    def all_texts() -> Iterable[str]:
        for done, name in enumerate(names):
            progress(what="reading", done=done, total=len(names), unit="task", name=name)
            yield from texts(name, split, limit=each, on_bad_row=on_bad_row)
        progress(what="reading", done=len(names), total=len(names), unit="task", name="")

    if next(iter(all_texts()), None) is None:
        raise UserError(
            f"no row of {mixture!r} has both a prompt and an answer in split {split!r}, so there is no text to learn a "
            f"vocabulary from; check its source"
        )

    def learn(pieces: int, exactly: bool) -> dict[str, Any]:
        return vocabularies.train_sentencepiece(all_texts(), pieces, output, {"hard_vocab_limit": exactly})

    *before, last = _sizes(size) if shrink else [(size, True)]
    for pieces, exactly in before:
        with contextlib.suppress(vocabularies.TooFewTextsError):
            return learn(pieces, exactly)
    return learn(*last)


def _sizes(size: int) -> list[tuple[int, bool]]:
    """Numbers of pieces to try, and whether there must be so many; the last ones are for texts of many characters.

    >>> _sizes(1024)
    [(1024, True), (512, True), (512, False), (1024, False), (2048, False), (4096, False), (8192, False)]
    """
    halves = [size]
    while halves[-1] > _LEAST_PIECES:
        halves.append(halves[-1] // 2)
    doubles = [halves[-1] * 2**power for power in range(len(halves) + 3)]
    return [(pieces, True) for pieces in halves] + [(pieces, False) for pieces in doubles]


def describe_in_child(*, setup: WorkerSetup, progress: Callable[..., None], vocabulary: str) -> dict[str, Any]:
    """Answers `describe`: what `flan_jax.tasks.vocabularies.describe` says of a vocabulary by its name or path."""
    from flan_jax.tasks import vocabularies

    return vocabularies.describe(vocabulary)


def encode_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], mixture: str, texts: Sequence[str]
) -> list[list[int]]:
    """Answers `encode`: token ids of texts, with the vocabulary of a mixture."""
    vocabulary = vocabulary_of(members(mixture)[0])
    return [[int(token) for token in vocabulary.encode(text)] for text in texts]


def decode_in_child(
    *, setup: WorkerSetup, progress: Callable[..., None], mixture: str, ids: Sequence[Sequence[int]]
) -> list[str]:
    """Answers `decode`: texts of token ids, with the vocabulary of a mixture."""
    vocabulary = vocabulary_of(members(mixture)[0])
    return [vocabulary.decode(list(row)) for row in ids]
