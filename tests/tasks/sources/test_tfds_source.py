import multiprocessing

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets

from flan_jax.errors import UserError
from flan_jax.tasks import InstructionTask, tfds
from flan_jax.tasks.examples import examples, fingerprint, needs_tensorflow, num_rows
from flan_jax.tasks.sources import tfds_source


@pytest.fixture(scope="module", params=["array_record", "tfrecord"])
def prepared(request, tmp_path_factory):
    """A folder with the TFDS data set "letters", version 1.0.0: in a format that is read anywhere, and in another."""
    folder = tmp_path_factory.mktemp(f"tfds_{request.param}")

    def rows(count):
        return tf.data.Dataset.from_tensor_slices({"text": [f"é{n}" for n in range(count)], "n": np.arange(count)})

    tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
        name="letters",
        version="1.0.0",
        features=tensorflow_datasets.features.FeaturesDict(
            {"text": tensorflow_datasets.features.Text(), "n": np.int64}
        ),
        split_datasets={"train": rows(30), "validation": rows(4)},
        data_dir=folder,
        file_format=request.param,
    )
    return str(folder)


def test_a_tfds_data_set_gives_plain_rows_in_parts(prepared):
    source = tfds("letters:1.0.0", data_dir=prepared)
    assert source.splits == ("train", "validation")
    rows = list(source.rows("train"))
    assert len(rows) == source.num_rows("train") == 30
    assert all(row == {"text": f"é{row['n']}", "n": row["n"]} for _, row in rows)
    assert {row["n"] for _, row in rows} == set(range(30)) and rows[3][0] == "train:3"
    assert list(source.rows("train", start=11, stop=17)) == rows[11:17]
    assert list(source.rows("train", start=28, stop=99)) == rows[28:] and list(source.rows("train", start=30)) == []
    assert source.is_at_hand and source.reads_anywhere == ("array_record" in prepared)


def test_all_processes_prepare_one_that_is_read_anywhere(prepared, model):
    """TensorFlow's runtime does not survive a fork: one that needs it is prepared in this process alone."""
    source = tfds("letters:1.0.0", data_dir=prepared)
    InstructionTask("letters", source, ("Repeat {text}",), answer="text", vocabulary=model).register()
    assert needs_tensorflow("letters") == ("array_record" not in prepared)
    assert num_rows("letters", "train") == 30


def test_a_fork_reads_what_the_process_before_it_had_open(prepared):
    source = tfds("letters:1.0.0", data_dir=prepared)
    if not source.reads_anywhere:
        return  # read in one process alone, see above
    rows = list(source.rows("train"))
    with multiprocessing.get_context("fork").Pool(2) as pool:
        parts = [pool.apply_async(_part, (source, start)) for start in (0, 10, 20)]
        assert [row for part in parts for row in part.get(timeout=60)] == rows


def _part(source, start):
    return list(source.rows("train", start=start, stop=start + 10))


def test_parts_of_a_tfds_split_become_splits(prepared):
    source = tfds("letters:1.0.0", data_dir=prepared, splits={"train": "train[5:]", "validation": "train[:5]"})
    found = {split: [row["n"] for _, row in source.rows(split)] for split in source.splits}
    assert len(found["validation"]) == source.num_rows("validation") == 5
    assert sorted(found["train"] + found["validation"]) == list(range(30))


def test_a_task_of_a_tfds_data_set(prepared, model):
    source = tfds("letters:1.0.0", data_dir=prepared)
    InstructionTask("letters", source, ("Repeat {text}",), answer="text", vocabulary=model).register()
    assert len(list(examples("letters", "validation", {}))) == 4 and len(fingerprint("letters")) == 32


def test_a_version_is_wanted():
    for name in ("letters", "letters:1", "letters/small"):
        with pytest.raises(UserError, match=r"a version is wanted, for example tfds\('glue/cola:2\.0\.0'\)"):
            tfds(name)


def test_a_data_set_that_is_not_there_is_told_in_a_sentence(tmp_path):
    for ask in (lambda s: s.splits, lambda s: s.num_rows("train"), lambda s: list(s.rows("train"))):
        with pytest.raises(UserError, match=r"TFDS cannot give 'no_such_set:1\.0\.0' .*tfds build") as told:
            ask(tfds("no_such_set:1.0.0", data_dir=str(tmp_path)))
        assert len(str(told.value)) < 400


def test_nothing_is_tried_where_the_network_knows_no_names(tmp_path, monkeypatch):
    def unknown(*arguments):
        raise OSError("Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    tfds_source._is_offline.cache_clear()
    with pytest.raises(
        UserError, match=r"TFDS cannot give 'trec:1\.0\.0' .*not prepared in .* the network knows no names"
    ):
        tfds("trec:1.0.0", data_dir=str(tmp_path)).num_rows("train")
    tfds_source._is_offline.cache_clear()
    assert list(tmp_path.rglob("*.*")) == []
