import gzip
import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import (
    CausalLanguageModel,
    MixtureOfDenoisers,
    PrefixLanguageModel,
    SpanCorruption,
    Tally,
    plain_text,
    task_from_file,
)
from flan_jax.tasks.examples import examples
from flan_jax.tasks.vocabularies import Tokenizer

LENGTHS = {"inputs": 64, "targets": 64}
VERSES = "The apple is red,\r\nthe pear is green.\r\n\r\n\r\nOne plum.\r\n"


def learnt(task, **how):
    """The texts of a task of causal language modelling."""
    task.register()
    return [one.learnt for one in examples(task.name, "train", LENGTHS, **how)]


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("paragraph", ["The apple is red,\nthe pear is green.", "One plum."]),
        ("line", ["The apple is red,", "the pear is green.", "One plum."]),
        ("file", ["The apple is red,\nthe pear is green.\n\n\nOne plum."]),
    ],
)
def test_a_file_of_text_is_read_by_its_parts(tmp_path, model, unit, texts):
    (tmp_path / "verses.txt").write_bytes(b"\xef\xbb\xbf" + VERSES.encode())
    task = plain_text(tmp_path / "verses.txt", "t", objective="causal_lm", unit=unit, vocabulary=model)
    assert learnt(task) == [(text,) for text in texts]


def test_rows_with_a_text_are_read_and_those_without_are_counted(tmp_path, model):
    rows = [{"text": "A plum."}, {"text": ""}, {"text": None}, {"url": "example.org"}, {"text": "A pear."}]
    with gzip.open(tmp_path / "pages.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    tally = Tally()
    task = plain_text(tmp_path / "pages.jsonl.gz", "t", objective="causal_lm", vocabulary=model)
    assert learnt(task, on_bad_row="skip", tally=tally) == [("A plum.",), ("A pear.",)]
    assert (tally.kept, tally.dropped, tally.bad_rows) == (2, 1, 2)


def test_every_objective_is_as_its_paper_has_it(tmp_path, model):
    (tmp_path / "verses.txt").write_text("\n".join([VERSES] * 5))
    kinds = {
        "prefix_lm": PrefixLanguageModel,
        "causal_lm": CausalLanguageModel,
        "span_corruption": SpanCorruption,
        "mixture_of_denoisers": MixtureOfDenoisers,
    }
    for objective, kind in kinds.items():
        task = plain_text(tmp_path / "verses.txt", objective, objective=objective, validation_rows=2, vocabulary=model)
        assert type(task) is kind and task.register() is task
        assert [len(list(examples(objective, split, LENGTHS))) for split in ("train", "validation")] == [8, 2]
        assert {one.objective for one in examples(objective, "train", LENGTHS)} == {objective}
    assert plain_text(tmp_path / "verses.txt", "t").split == "uniform"
    with pytest.raises(UserError, match=r"objective='casual_lm'; it is one of .*; did you mean 'causal_lm'"):
        plain_text(tmp_path / "verses.txt", "t", objective="casual_lm")
    with pytest.raises(UserError, match=r"unit='word'; unit is one of|unit is one of paragraph, line, file"):
        plain_text(tmp_path / "verses.txt", "t", unit="word")


def test_text_is_recognised_and_labelled_text_is_not(tmp_path, model):
    (tmp_path / "verses.txt").write_text(VERSES)
    page = {"text": "A plum and a pear.", "url": "example.org", "timestamp": "2020"}
    (tmp_path / "pages.jsonl").write_text(json.dumps(page) + "\n")
    for name, count in (("verses.txt", 2), ("pages.jsonl", 1)):
        task = task_from_file(tmp_path / name, name.partition(".")[0], vocabulary=model).register()
        found = list(examples(task.name, "train", LENGTHS))
        assert len(found) == count and {one.objective for one in found} == {"prefix_lm"}
    (tmp_path / "reviews.jsonl").write_text(json.dumps({"text": "I loved it.", "label": 1}) + "\n")
    with pytest.raises(UserError, match="has the columns text, label, which are of no format known here"):
        task_from_file(tmp_path / "reviews.jsonl", "t")
    (tmp_path / "old.txt").write_bytes("A plum and a pear.".encode("utf-16"))
    task = task_from_file(tmp_path / "old.txt", "old", vocabulary=model).register()
    assert [len(one.inputs) > 0 for one in examples(task.name, "train", LENGTHS)] == [True]
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UserError, match=r"empty.txt has no rows that can be read"):
        task_from_file(tmp_path / "empty.txt", "t")


def test_real_pages(data, model):
    tally = Tally()
    task = plain_text(data / "plain_text" / "c4_demo_sample.jsonl", "c4", objective="span_corruption", vocabulary=model)
    task.register()
    found = list(examples("c4", "train", {"inputs": 512, "targets": 114}, tally=tally))
    assert tally.kept == len(found) > 120 and not tally.bad_rows and not tally.dropped
    marks = set(range(400, 500))
    texts: dict[str, int] = {}
    for one in found:
        row = one.id.partition("#")[0]
        texts[row] = texts.get(row, 0) + sum(1 for t in [*one.inputs, *one.targets[:-1]] if int(t) not in marks)
    lines = (data / "plain_text" / "c4_demo_sample.jsonl").read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line)["text"] for line in lines if line]
    assert list(texts.values()) == [len(ids) for ids in Tokenizer(model).encode(rows)]
