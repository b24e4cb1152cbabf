import json
import sys

import datasets
import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import InstructionTask, hugging_face, registry
from flan_jax.tasks.examples import fingerprint, source_files

TRAIN = [{"n": n, "text": f"é{n}", "labels": ["a"] * (n % 3)} for n in range(40)]
VALIDATION = [{"n": n, "text": f"v{n}", "labels": []} for n in range(4)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    both = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(TRAIN), "validation": datasets.Dataset.from_list(VALIDATION)}
    )
    both.save_to_disk(folder / "both")
    both["train"].save_to_disk(folder / "one")
    return folder


@pytest.fixture
def folder(tmp_path):
    for split, rows in (("train", TRAIN), ("validation", VALIDATION)):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def rows_of(source, split="train", **how):
    return [row for _, row in source.rows(split, **how)]


def test_a_saved_data_set_tells_its_splits_and_counts(saved):
    source = hugging_face(saved / "both")
    assert source.splits == ("train", "validation")
    assert rows_of(source) == TRAIN and rows_of(source, "validation") == VALIDATION
    assert (source.num_rows("train"), source.num_rows("validation")) == (40, 4)
    assert next(source.rows("train", start=7))[0] == "train:7"
    assert rows_of(source, start=30, stop=35) == TRAIN[30:35]
    assert rows_of(hugging_face(saved / "one")) == TRAIN
    with pytest.raises(UserError, match=r"no split 'test' \(there is train, validation\)"):
        rows_of(source, "test")


@pytest.mark.parametrize("kind", ["saved", "folder", "files"])
def test_parts_of_a_split_become_splits(saved, folder, kind):
    path = {"saved": saved / "one", "folder": folder, "files": "json"}[kind]
    files = {"train": str(folder / "train.jsonl")} if kind == "files" else None
    source = hugging_face(path, splits={"train": "train[5:-3]", "validation": "train[:5]"}, data_files=files)
    assert rows_of(source) == TRAIN[5:-3] and rows_of(source, "validation") == TRAIN[:5]
    assert (source.num_rows("train"), source.num_rows("validation")) == (32, 5)
    assert rows_of(source, start=2, stop=6) == TRAIN[7:11] and rows_of(source, start=30) == TRAIN[35:37]
    assert rows_of(source, start=40) == rows_of(source, start=32, stop=40) == []
    assert next(source.rows("train"))[0] == "train:5"


def test_a_folder_of_files_is_streamed_and_counted(folder):
    source = hugging_face(folder)
    assert source.splits == ("train", "validation") and source.num_rows("train") == 40
    assert rows_of(source, start=38) == TRAIN[38:]
    assert rows_of(hugging_face(folder, columns=["n"]))[:2] == [{"n": 0}, {"n": 1}]


def test_a_tasks_fingerprint_follows_its_local_files(folder, model):
    source = hugging_face(folder)
    InstructionTask("t", source, ("{text}",), answer="text", vocabulary=model).register()
    assert source_files("t") == [str(folder / "train.jsonl"), str(folder / "validation.jsonl")]
    first = fingerprint("t")
    moved = folder.rename(folder.with_name("moved"))
    registry._RECIPES.clear()
    seqio.TaskRegistry.reset()
    InstructionTask("t", hugging_face(moved), ("{text}",), answer="text", vocabulary=model).register()
    assert fingerprint("t") == first  # where the files lie changes no row
    moved.rename(folder)
    registry._RECIPES.clear()
    seqio.TaskRegistry.reset()
    InstructionTask("t", source, ("{text}",), answer="text", vocabulary=model).register()
    (folder / "train.jsonl").write_text(json.dumps(TRAIN[0]) + "\n")
    assert first != fingerprint("t")


def test_declaring_reads_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    source = hugging_face("nobody/nothing", splits=("train",))
    assert source.splits == ("train",) and source.file_splits == ()
    with pytest.raises(UserError, match=r"not installed: pip install 'flan-jax\[hf\]'"):
        rows_of(source)


def test_what_cannot_be_read_is_told(tmp_path, monkeypatch):
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(UserError, match=r"cannot be read .*check its path, name and revision"):
        rows_of(hugging_face(tmp_path))
    with pytest.raises(UserError, match="slice of rows looks like"):
        hugging_face("x", splits={"train": "train[5]"})
    monkeypatch.setattr(
        datasets, "load_dataset_builder", lambda *_, **__: type("B", (), {"info": datasets.DatasetInfo()})
    )
    with pytest.raises(UserError, match="cannot count from its end"):
        rows_of(hugging_face("hub/name", splits={"train": "train[:-5]"}))
