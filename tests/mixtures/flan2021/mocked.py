"""Made-up rows of the data sets of FLAN 2021, by TFDS's own mocks of its builders: nothing is downloaded."""

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow_datasets

from flan_jax.tasks import InstructionTask
from flan_jax.tasks.sources import as_source, tfds_source
from tests.mixtures.flan2021.goldens import TASKS

# What random words cannot be: a label or a mark that only the real data have.
MADE = {
    "copa": {"question": "cause"},
    "hellaswag": {"label": 1},
    "story_cloze": {"label": 2},
    "arc_easy": {"choices": {"text": ["a", "b", "c", "d"], "label": [0, 1, 2, 3]}, "answerKey": 2},
    "arc_challenge": {"choices": {"text": ["a", "b", "c", "d"], "label": [0, 1, 2, 3]}, "answerKey": 3},
    "e2e_nlg": {"meaning_representation": "name[Bar], area[north]"},
    "wsc": {"text": "a b it c", "span2_index": 2, "span2_text": "it"},
    "wsc273": {"text": "a it b", "pronoun_start": 2, "pronoun_end": 4, "pronoun_text": "it", "label": 1},
    "coqa": {"questions": ["a", "b"], "answers": {"input_text": ["c", "d"], "answer_start": [], "answer_end": []}},
    "fix_punct": {"en": "Yes, no."},
    "true_case": {"en": "In May"},
}


@contextlib.contextmanager
def mocked_tfds(rows: int = 24) -> Iterator[None]:
    """TFDS gives so many random rows of each split of each data set, by the builder's real specification."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(tfds_source, "_is_offline", lambda: False)
        patch.setenv("TFDS_DATA_DIR", folder)
        with tensorflow_datasets.testing.mock_data(num_examples=rows, num_sub_examples=4, max_value=6):
            yield


def made_rows(task: InstructionTask, split: str) -> list[tuple[str, dict[str, Any]]]:
    """Ids and rows of a task's split, while TFDS is mocked."""
    rows = list(as_source(task.source).rows(split))
    made = MADE.get(task.name, {})
    assert set(made) <= set(rows[0][1]), "TFDS has no such field"
    return [(row_id, {**row, **made}) for row_id, row in rows]


def write_all(folder: pathlib.Path) -> str:
    """Writes rows of every data set as JSONL; gives the pattern for `Data.corpora`."""
    with mocked_tfds(12):
        for task in TASKS.values():
            (folder / task.name).mkdir()
            for split in task.source.splits:
                lines = "".join(f"{json.dumps(row)}\n" for _, row in made_rows(task, split))
                (folder / task.name / f"{split}.jsonl").write_text(lines)
    return f"{folder}/{{corpus}}/{{split}}.jsonl"
