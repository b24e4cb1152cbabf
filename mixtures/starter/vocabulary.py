"""Makes `starter.model`, the vocabulary of the starter suite, which also serves small texts of one's own.

    python -m flan_jax.mixtures.starter.vocabulary            # writes starter.model beside this file
    python -m flan_jax.mixtures.starter.vocabulary my.model   # or elsewhere

It is learnt from the training rows under the training templates alone. Every word counts once, however often it is
met: so each becomes one piece, and an answer reads the same in the passage and in the targets. All of printable ASCII
is covered; other characters fall back to bytes.
"""

import itertools
import os
import re
import string
import sys
from collections.abc import Iterator

from flan_jax.mixtures.starter import suite
from flan_jax.tasks import InstructionTask
from flan_jax.tasks.options import STYLES
from flan_jax.tasks.templates import values_for
from flan_jax.tasks.vocabularies import train_sentencepiece

SIZE = 1_280  # 256 of them bytes: with so many, every word of the suite is one piece
PATH = os.path.join(os.path.dirname(__file__), "starter.model")
_ROWS = 2_000  # of each task; enough to meet every word


def rendered(task: InstructionTask, rows: int = _ROWS) -> Iterator[str]:
    """Yields prompts and answers of a task's training rows, its training and inverted templates taken in turn."""
    templates = itertools.cycle((*task.templates, *task.inverted_templates))
    styles = itertools.cycle(STYLES.values())
    for _, row in itertools.islice(task.source.rows("train"), rows):
        fields = task.preprocess(row) if task.preprocess else row
        if fields is None:
            continue
        template = next(templates)
        options = fields[task.options] if isinstance(task.options, str) else task.options
        values = values_for(template.fields, {**fields, "answer": fields[task.answer]}, template.inputs)
        yield from template.render({**values, "options": next(styles).block(options) if options else ""})


def words() -> list[str]:
    """The words of all training prompts and answers, sorted, each once."""
    found: set[str] = set()
    for task in suite.TRAINED:
        for text in rendered(task):
            found.update(re.findall(r"[A-Za-z]+", text))
    return sorted(found)


def write(path: str = PATH) -> None:
    """Learns the vocabulary and writes it to `path`; the same bytes every time."""
    texts = [f"{word} {word}." for word in words()]
    covered = string.digits + string.ascii_letters + string.punctuation
    train_sentencepiece(texts, SIZE, path, options={"split_digits": True, "required_chars": covered})


if __name__ == "__main__":
    write(*sys.argv[1:])
