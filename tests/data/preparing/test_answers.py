"""What the data process answers beside preparing."""

import json

import pytest
import sentencepiece

from flan_jax.data.preparing import answers
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.resolve import resolve
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError
from flan_jax.tasks import task_from_file

TASKS = """
import seqio

from flan_jax.tasks import SpanCorruption, text

SpanCorruption("novel", text({path!r}), vocabulary=seqio.ByteVocabulary(extra_ids=20)).register()
"""


@pytest.mark.parametrize(
    "texts",
    [["a"], ["hi there", "ok"] * 10, ["\U0001f600"], [chr(0x4E00 + i) for i in range(1500)]],
    ids=["one letter", "twenty short rows", "one emoji", "1,500 characters once each"],
)
def test_any_number_of_texts_gives_a_vocabulary(tmp_path, monkeypatch, texts):
    said = [{"prompt": text, "completion": text} for text in texts]
    (tmp_path / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in said))
    name = f"few_{len(texts)}_{ord(texts[0][0])}"
    task_from_file(tmp_path / "few.jsonl", name).register()
    how = {"split": "train", "max_examples": 9999, "on_bad_row": "error", "output": str(tmp_path / "v.model")}
    told = {"setup": WorkerSetup(), "progress": lambda **_: None, "mixture": name, **how}
    answers.vocabulary_in_child(**told, size=2048, shrink=True)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "v.model"))
    assert all(pieces.decode(pieces.encode(text)) == text for text in texts)
    with pytest.raises(UserError, match="No vocabulary of 9000 pieces.*ask for another --size"):
        answers.vocabulary_in_child(**told, size=9000)


def test_a_bad_row_met_while_a_vocabulary_is_learnt_is_told_as_such(tmp_path):
    (tmp_path / "torn.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 30 + "{\n")
    task_from_file(tmp_path / "torn.jsonl", "torn_rows").register()
    how = {"split": "train", "max_examples": 99, "output": str(tmp_path / "v.model"), "size": 512, "shrink": True}
    told = {"setup": WorkerSetup(), "progress": lambda **_: None, "mixture": "torn_rows", **how}
    with pytest.raises(UserError, match=r"torn.jsonl:31: not JSON.*--on_bad_row skip"):
        answers.vocabulary_in_child(**told, on_bad_row="error")
    assert answers.vocabulary_in_child(**told, on_bad_row="skip")["size"] > 256


def test_an_estimate_counts_the_pieces_that_texts_are_cut_into(tmp_path, real_data):
    path = str(real_data / "plain_text" / "frankenstein.txt")
    (tmp_path / "novel_task.py").write_text(TASKS.format(path=path))
    lengths = {"inputs": 256, "targets": 64}
    request = Request("novel", "train", lengths, 0, str(tmp_path / "stores"))
    with Worker(WorkerSetup(("novel_task",), (str(tmp_path),))) as worker:
        (estimated,) = worker.call("estimate", sample=400, request=request)["tasks"]
        (exact,) = resolve(request, worker).tasks
    assert exact.count > 1.5 * estimated["rows"]  # paragraphs are longer than a row
    assert estimated["count"] == pytest.approx(exact.count, rel=0.25)
    assert json.dumps(estimated["tally"])
