"""The corpora of plain text, from files as people have them."""

import gzip
import json

import pytest

from flan_jax.mixtures.plain_text import c4, own_text
from flan_jax.tasks import registry
from flan_jax.tasks.examples import examples
from flan_jax.tasks.sources import as_source, corpus

LENGTHS = {"inputs": 512, "targets": 512}
NAMES = ["span_corruption", "prefix_lm", "causal_lm", "ul2"]


@pytest.fixture(autouse=True)
def own_places():
    yield
    corpus.use(corpus.RunCorpora())


def test_each_corpus_has_every_objective_and_a_sample_of_it():
    for module, name in ((c4, "c4"), (own_text, "own_text")):
        assert [task.name for task in module.TASKS] == [f"{name}_{objective}" for objective in NAMES]
        for task in module.TASKS:
            assert registry.declared(task.name) == task
            (one,) = examples(task.name, "train", LENGTHS, from_sample=True)
            assert len(one.targets) > 1 and len(one.inputs) + len(one.targets) > 40
            assert (len(one.inputs) == 0) == (task.objective == "causal_lm")


def test_c4_is_read_from_the_hubs_files_which_are_json_lines(tmp_path):
    for split, count in (("train", 3), ("validation", 2)):
        with gzip.open(tmp_path / f"c4-{split}.00000-of-00001.json.gz", "wt") as file:
            for number in range(count):
                row = {"text": f"{split} {number} on the pier", "timestamp": "2019-04-25T12:57:54Z", "url": "example"}
                file.write(json.dumps(row) + "\n")
    corpus.use(corpus.RunCorpora({"c4": f"{tmp_path}/c4-{{split}}.*.json.gz"}))
    texts = [one.learnt[0] for one in examples("c4_causal_lm", "train", LENGTHS)]
    assert texts == [f"train {number} on the pier" for number in range(3)]
    assert len(list(examples("c4_ul2", "validation", LENGTHS))) == 2


def test_text_of_ones_own_is_cut_from_a_folder_of_files(tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.txt").write_text("".join(f"This is verse {n} of {number}.\n\n" for n in range(10)))
    corpus.use(corpus.RunCorpora({"own_text": f"{tmp_path}/*.txt"}))
    source = as_source(own_text.TASKS[0].source)
    assert source.is_at_hand and source.num_rows("train") == 10
    found = {
        split: [one.learnt[0] for one in examples("own_text_causal_lm", split, LENGTHS)] for split in source.splits
    }
    assert found["train"] == [f"This is verse {n} of 5." for n in range(10)] and len(found["validation"]) == 50
