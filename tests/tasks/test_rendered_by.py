"""What can be told of what shapes examples, and of which tasks."""

import json

import pytest
import seqio

from flan_jax.tasks import InstructionTask, array_record, generator, jsonl, rendered_by
from tests.tokenizer_folders import byte_level


class Own(seqio.ByteVocabulary):
    """A vocabulary of the user's."""


def made(split):
    yield {"word": "plum"}


def same(row):
    return row


FILES = {"source": jsonl("/nowhere/words.jsonl"), "vocabulary": seqio.ByteVocabulary()}
DECODED = array_record("/nowhere/words.array_record", decode=json.loads)


@pytest.mark.parametrize(
    ("changes", "functions", "is_told"),
    [
        ({}, [], True),
        ({"preprocess": same}, [same], False),
        ({"source": generator(made), "preprocess": same}, [same, made], False),
        ({"source": DECODED}, [], False),
        ({"vocabulary": Own()}, [], False),
        ({"source": seqio.FunctionDataSource(lambda split, shuffle_files, seed=None: None, ["train"])}, [], False),
    ],
    ids=["files", "preprocess", "generator", "decode", "own vocabulary", "seqio's source"],
)
def test_tasks_that_run_the_users_code_are_not_told(request, changes, functions, is_told):
    name = f"told.{request.node.callspec.id.translate(str.maketrans(chr(39), '_', ' '))}"
    InstructionTask(name, templates="Say {word}.", answer="word", **FILES | changes).register()
    assert rendered_by.functions(name) == functions
    assert (rendered_by.rendered_by(name) is not None) == is_told


def test_how_rows_are_called_counts(tmp_path):
    """What is random about an example is drawn by its row's id; of two files of one name that has their folders."""
    source = jsonl(str(tmp_path / "*" / "rows.jsonl"))
    InstructionTask("called", source, templates="Say {word}.", answer="word", vocabulary="byte").register()
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text('{"word": "plum"}')
    before = rendered_by.rendered_by("called")
    assert before == rendered_by.rendered_by("called")
    (tmp_path / "b").rename(tmp_path / "c")
    assert before != rendered_by.rendered_by("called")


def test_the_settings_beside_a_vocabulary_count(tmp_path):
    """A chat template names special tokens, which only those tell; a process reads them once, as it does the model."""
    before, after = (byte_level(tmp_path / name, bos_token=name) for name in ("<|im_start|>", "<|im_end|>"))
    found = []
    for number, folder in enumerate((before, before, after)):
        task = f"settings_{number}"
        InstructionTask(task, **FILES | {"vocabulary": str(folder)}, templates="{word}", answer="word").register()
        found.append(rendered_by.rendered_by(task))
    assert found[0] == found[1] != found[2]
