"""What the data process answers beside preparing."""

import json

import pytest

from flan_jax.data.resolve import Request, resolve
from flan_jax.data.worker import Worker

TASKS = """
import seqio

from flan_jax.tasks import SpanCorruption, text

SpanCorruption("novel", text({path!r}), vocabulary=seqio.ByteVocabulary(extra_ids=20)).register()
"""


def test_an_estimate_counts_the_pieces_that_texts_are_cut_into(tmp_path, real_data):
    path = str(real_data / "plain_text" / "frankenstein.txt")
    (tmp_path / "novel_task.py").write_text(TASKS.format(path=path))
    lengths = {"inputs": 256, "targets": 64}
    request = Request("novel", "train", lengths, 0, str(tmp_path / "stores"), modules=("novel_task",))
    with Worker(["novel_task"], folders=[str(tmp_path)]) as worker:
        (estimated,) = worker.call("estimate", sample=400, **request.arguments())["tasks"]
        (exact,) = resolve(request, worker).tasks
    assert exact.count > 1.5 * estimated["rows"]  # paragraphs are longer than a row
    assert estimated["count"] == pytest.approx(exact.count, rel=0.25)
    assert json.dumps(estimated["tally"])
