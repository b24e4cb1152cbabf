"""The ready chats: their samples read as their files say, and the published files as the run places them."""

import dataclasses
import importlib

import datasets
import pytest

from flan_jax.tasks import Tally, run_form
from flan_jax.tasks.examples import examples, only_sample
from flan_jax.tasks.sources import as_source, corpus
from tests.tasks.formats.test_oasst import TREE, messages_of

LONG = {"inputs": None, "targets": None}
FILES = {"oasst": "oasst oasst_best", "sharegpt": "sharegpt glaive_toolcall", "moss": "moss moss_with_tools"}
FILES["people"] = "topical_chat sgd taskmaster"
MODULES = {name: importlib.import_module(f"flan_jax.mixtures.chats.{name}") for name in FILES}
REAL = {  # what stands for each, and what is read of it
    "oasst": ("oasst_en_trees.jsonl", 397),
    "oasst_best": ("oasst_en_trees.jsonl", 70),
    "sharegpt": ("fastchat_dummy_conversation.json", 300),
    "glaive_toolcall": ("glaive_toolcall_en.json", 200),
    "moss": ("moss_without_plugins.jsonl", 162),
    "moss_with_tools": ("moss_with_plugins.jsonl", 75),
    "topical_chat": ("topical_chat_valid_rare_sample.json.gz", 150),
    "sgd": ("sgd_dialogues_sample.json.gz", 60),
    "taskmaster": ("taskmaster4_sample.json.gz", 140),
}


@pytest.fixture(autouse=True)
def places():
    yield
    corpus.use(corpus.RunCorpora())


@pytest.fixture(autouse=True)
def vocabulary(model):
    run_form.use(run_form.RunForm(model))
    yield
    run_form.use(run_form.RunForm())


@pytest.mark.parametrize("name", FILES)
def test_its_file_shows_what_its_sample_becomes(name):
    names = [task.name for task in MODULES[name].TASKS]
    assert names == FILES[name].split() and all(map(only_sample, names))
    found = [one for task in names for one in examples(task, "train", LONG, from_sample=True)]
    shown = ["{}\n→ {}".format(one.inputs_text, one.targets_text.replace("\n", "\n  ")) for one in found]
    assert MODULES[name].__doc__.partition("\n\n")[2].partition("\n\n    ")[0] in shown


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_where_the_run_says_they_lie(real_data, name):
    file, count = REAL[name]
    place = str(real_data / "chat" / file)
    corpus.use(corpus.RunCorpora({name.removesuffix("_best"): place}))
    read = {split: Tally() for split in ("train", "validation")}
    for split, tally in read.items():
        assert all(one.targets_text for one in examples(name, split, LONG, tally=tally))
    whole = [read["train"].read + read["validation"].read, read["train"].kept + read["validation"].kept]
    assert whole == [count, count] and read["validation"].kept and not only_sample(name)


def test_the_hubs_messages_become_trees_and_slices_count_trees(tmp_path):
    trees = [{**TREE, "message_tree_id": f"tree {number}"} for number in range(103)]
    rows = [message for tree in trees for message in messages_of(tree)]
    folder = tmp_path / "copy" / "default" / "train"
    folder.mkdir(parents=True)
    columns = ("message_id", "parent_id", "text", "role", "rank", "message_tree_id", "tree_state")
    datasets.Dataset.from_list([{name: row.get(name) for name in columns} for row in rows]).to_parquet(
        folder / "0000.parquet"
    )
    (task, best) = MODULES["oasst"].TASKS
    declared = dataclasses.replace(task.source, hub=dataclasses.replace(task.source.hub, path=str(tmp_path / "copy")))
    corpus.use(corpus.RunCorpora("hugging_face"))
    source = as_source(declared)
    assert source.is_at_hand and not as_source(task.source).is_at_hand
    source.check("train")
    for split, count in (("train", 3), ("validation", 100)):
        found = [task.preprocess(row) for _, row in source.rows(split)]
        assert len(found) == count and {len(one) for one in found} == {6}
    assert [row["messages"][-1]["content"] for row in best.preprocess(next(source.rows("train"))[1])] == ["a5"]
