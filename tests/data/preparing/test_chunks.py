"""Text that is prepared up to a budget: which chunks of its source, how many, and whether there is room."""

import dataclasses
import hashlib
import json
import shutil

import pytest
import seqio

from flan_jax.data.hygiene import contents
from flan_jax.data.preparing import chunks, filling, freshness
from flan_jax.data.preparing.jobs import Job, store_folder
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.tasks import CausalLanguageModel, SpanCorruption, generator, jsonl

ROWS, LONG = 60, 7  # rows of the corpus, and of a chunk
BYTES = seqio.ByteVocabulary(extra_ids=20)

pytestmark = pytest.mark.usefixtures("own_registries")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ROWS", LONG)
    monkeypatch.setattr(stores, "PART_ROWS", 16)
    monkeypatch.setattr(filling.forks, "workers", lambda: None)  # all in this process


@pytest.fixture
def corpus(tmp_path):
    """A file of texts of 41 bytes and an end."""
    path = tmp_path / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps({"text": f"text {i:02} " + "of words " * 3 + "here."}) + "\n" for i in range(ROWS))
    )
    return jsonl(str(path))


def filled(tmp_path, task, draw=0, seed=3, **asked):
    """The store, and its job."""
    request = Request(task, "train", {"inputs": 64, "targets": 64}, seed, str(tmp_path / "stores"), **asked)
    job = Job(task, store_folder(task, "f", request), "f", draw)
    filling.fill_stores([job], request, WorkerSetup(), lambda **_: None, "preparing")
    return stores.Store(job.target), job, request


def rows_in(store):
    return [int(store.id(i).rpartition(":")[2].partition("#")[0]) for i in range(store.count)]


def digests(store):
    return [hashlib.sha256(stores.part_path(store.folder, k).read_bytes()).hexdigest() for k in range(len(store.ends))]


def test_chunks_come_from_all_over_the_corpus_up_to_the_budget(tmp_path, corpus):
    CausalLanguageModel("tale", corpus, vocabulary=BYTES).register()
    each = LONG * (len("text 00 of words of words of words here.") + 1)
    store, job, request = filled(tmp_path, "tale", budget=2 * each + 1)
    starts = [row for row in rows_in(store)[::LONG]]
    first = rows_in(store)[0]
    assert all(row % LONG == 0 for row in starts) and len(set(starts)) == len(starts)
    assert rows_in(store) == [row for start in starts for row in range(start, min(start + LONG, ROWS))]
    assert starts != sorted(range(0, len(starts) * LONG, LONG)), "the beginning of the corpus"
    assert 2 * each + 1 <= store.manifest["tokens"]["trainable"] <= 3 * each
    # Equal settings give equal bytes; another seed other rows; more of it begins with the same.
    assert digests(filled(tmp_path / "again", "tale", budget=2 * each + 1)[0]) == digests(store)
    assert rows_in(filled(tmp_path, "tale", seed=4, budget=2 * each + 1)[0])[0] != first
    more, other, _ = filled(tmp_path, "tale", budget=4 * each)
    assert other.folder != job.folder and digests(more)[:3] == digests(store)
    # What looks at stores again reads these rows of the source.
    assert freshness.stale(job, request) is None and freshness.stale_part(job, 1, request) is None
    said = [one for piece in contents.pieces_of(job, request) for one in contents.rows_of(piece, request)]
    assert len(said) == store.count and all(one.known for one in said)


def test_a_small_corpus_is_prepared_once_whatever_the_budget(tmp_path, corpus):
    CausalLanguageModel("tale", corpus, vocabulary=BYTES).register()
    store, _, _ = filled(tmp_path, "tale", budget=10**9)
    assert sorted(rows_in(store)) == list(range(ROWS))


def test_every_draw_has_the_examples_of_the_first(tmp_path, corpus):
    SpanCorruption("spans", corpus, vocabulary=BYTES).register()
    first, job, request = filled(tmp_path, "spans", budget=200)
    later, _, _ = filled(tmp_path, "spans", draw=2, budget=200)
    assert rows_in(later) == rows_in(first) and len(later.ends) == len(first.ends) > 1
    assert digests(later) != digests(first)
    shutil.rmtree(job.target)
    with pytest.raises(UserError, match="first draw of task 'spans' is gone.*start the same command again"):
        filled(tmp_path, "spans", draw=3, budget=200)


def test_a_source_that_tells_no_number_of_rows_is_read_from_its_beginning(tmp_path):
    texts = lambda split: ({"text": f"a text of some words, {i}"} for i in range(ROWS))
    CausalLanguageModel("endless", generator(texts), vocabulary=BYTES).register()
    assert rows_in(filled(tmp_path, "endless", budget=300)[0]) == list(range(2 * LONG))
    assert rows_in(filled(tmp_path, "endless", budget=10**6)[0]) == list(range(ROWS))


def test_a_source_that_declares_too_many_rows_gives_those_it_has(tmp_path):
    texts = lambda split: ({"text": f"a text of some words, {i}"} for i in range(ROWS))
    CausalLanguageModel("boasting", generator(texts, num_rows={"train": 20 * ROWS}), vocabulary=BYTES).register()
    store, job, request = filled(tmp_path, "boasting", budget=10**6)
    assert sorted(rows_in(store)) == list(range(ROWS)) and len(store.ends) > ROWS // LONG + 1
    assert freshness.stale(job, request) is None


def test_of_other_code_the_beginning_is_prepared(tmp_path):
    import tensorflow as tf

    seqio.TaskRegistry.add(
        "foreign",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.range(100).map(
                lambda i: {"inputs": "", "targets": tf.strings.as_string(i)}
            ),
            splits=["train"],
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
    )
    assert filled(tmp_path, "foreign", budget=60)[0].count == 32


def test_text_that_the_disk_has_no_room_for_is_refused_with_figures(tmp_path, corpus, monkeypatch):
    CausalLanguageModel("tale", corpus, vocabulary=BYTES).register()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2500))
    with pytest.raises(
        UserError, match=r"text of task 'tale' takes about 0.0 MB \(9 parts .*100,000 trainable.*free in"
    ):
        filled(tmp_path, "tale", budget=100_000)
    (job,) = (tmp_path / "stores" / "tale").glob("train-*")
    assert [path.name for path in sorted((job / "draw-0").iterdir())] == ["part-00000.bin"]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert filled(tmp_path, "tale", budget=100_000)[0].count == ROWS


def test_without_a_budget_stores_are_what_they_were(tmp_path, corpus):
    CausalLanguageModel("tale", corpus, vocabulary=BYTES).register()
    store, job, request = filled(tmp_path, "tale")
    assert rows_in(store) == list(range(ROWS)) and [int(end) for end in store.ends] == [16, 32, 48, 60]
    assert "budget" not in store.manifest
    assert store_folder("tale", "f", dataclasses.replace(request, budget=5)) != job.folder
