"""What metrics compare with is kept beside the tokens, and believed only where it is theirs."""

import gzip
import json
import os
import pathlib
import shutil

import fsspec
import pytest
import seqio

from flan_jax.data.preparing.references import NAME, references
from flan_jax.data.preparing.repair import repair_one
from flan_jax.data.preparing.resolving import first_draws
from flan_jax.data.preparing.writing import finish_store, write_part, write_whole
from flan_jax.data.request import Request
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.tasks import InstructionTask, SpanCorruption, examples, jsonl, registry

ROWS = 20
LAST = "wörd 19\r\n\u2028"
LONG = "a very long answer, which is no", "a very long answer, which is yes"


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Each test sees what it registers itself; stores have several parts."""
    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_RECIPES", {})
    monkeypatch.setattr(stores, "PART_ROWS", 8)


def told(row):
    """What no fingerprint sees: rows as the environment has them."""
    outside = json.loads(os.environ["OUTSIDE"])
    return None if row["word"] == outside.get("without") else row | outside


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """The file that all tasks are read from."""
    file = tmp_path / "rows.jsonl"
    found = [
        {"word": f"wörd {i}\r\n\u2028", "said": ["one", f"{i}\x85"], "right": i % 2, "text": f"{'sea ' * i}{i}"}
        for i in range(ROWS)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in found))
    same = {"source": jsonl(file), "vocabulary": seqio.ByteVocabulary(extra_ids=20)}
    wordings = {"templates": ("Say {word}.", "{word}:"), "preprocess": told}
    InstructionTask("open", answer="said", few_shot=2, **wordings, **same).register()
    InstructionTask("chosen", answer="right", options=("odd", "even"), **wordings, **same).register()
    # Cut to their length, the two options are alike.
    InstructionTask("long", answer="right", options=LONG, **wordings, **same).register()
    SpanCorruption("spans", **same).register()
    monkeypatch.setenv("OUTSIDE", "{}")
    return file


@pytest.fixture
def outside(monkeypatch):
    """Changes what no fingerprint sees."""
    return lambda **changes: monkeypatch.setenv("OUTSIDE", json.dumps(changes))


def request_for(task, folder, **changes):
    return Request(task, "train", {"inputs": 64, "targets": 16}, **{"seed": 0, "store_dir": str(folder), **changes})


def prepared(request):
    """The address of a store that several processes have written, as they do."""
    (job,) = first_draws([request.mixture], request)
    number = -(-ROWS // stores.PART_ROWS)
    if request.limit is None:
        for k in reversed(range(number)):
            write_part(job, k, request)
    else:
        number = write_whole(job, request).parts
    finish_store(job, number, request)
    return f"{job.folder}/draw-0"


def made_now(request):
    return list(examples.references(request.mixture, request.split, request.lengths, **request.reading()))


@pytest.mark.parametrize("changes", [{}, {"on_long": "drop"}, {"limit": 9, "seed": 1}], ids=["all", "some", "limited"])
@pytest.mark.parametrize("task", ["open", "chosen", "open.2_shot", "spans"])
def test_the_first_scoring_keeps_what_all_later_ones_read(rows, tmp_path, task, changes):
    request = request_for(task, tmp_path / "stores", **changes)
    folder, wanted = prepared(request), made_now(request)
    assert references(task, folder, request) == wanted and len(wanted) == stores.Store(folder).count > 5
    rows.unlink()  # nothing is to be rendered from here on
    assert references(task, folder, request) == wanted
    assert stores.whole(folder) and repair_one(pathlib.Path(folder)) == []
    assert references(task, folder, request) == wanted


def edited(file, _):
    file.write_bytes(gzip.compress(gzip.decompress(file.read_bytes()).replace(b'"one"', b'"two"')))


def foreign(file, other):
    file.write_bytes((pathlib.Path(other) / NAME).read_bytes())


def flipped(file, _):
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file, _: file.unlink(),
        lambda file, _: file.write_bytes(b""),
        lambda file, _: file.write_bytes(b"no such thing"),
        lambda file, _: file.write_bytes(file.read_bytes()[:-20]),
        flipped,
        edited,
        foreign,
    ],
    ids=["missing", "empty", "not packed", "cut", "flipped", "edited", "of another store"],
)
def test_what_cannot_be_believed_is_made_anew(rows, tmp_path, damage):
    request, other = (request_for("open", tmp_path / "stores", seed=seed) for seed in (0, 1))
    folder, others = prepared(request), prepared(other)
    wanted = references("open", folder, request)
    assert len(references("open", others, other)) == len(wanted)
    file = pathlib.Path(folder) / NAME
    sound = file.read_bytes()
    damage(file, others)
    assert references("open", folder, request) == wanted and file.read_bytes() == sound
    rows.unlink()
    assert references("open", folder, request) == wanted


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        ("open", {"word": "another prompt"}),
        ("open", {"said": "another answer"}),
        ("chosen", {"right": 0}),
        ("long", {"right": 0}),
        ("open", {"without": LAST}),
    ],
)
def test_what_is_rendered_otherwise_than_the_store_is_not_kept(rows, outside, tmp_path, task, changes):
    request = request_for(task, tmp_path / "stores")
    folder, wanted = prepared(request), made_now(request)
    outside(**changes)
    now = references(task, folder, request)
    assert now == made_now(request) != wanted and not (pathlib.Path(folder) / NAME).exists()
    outside()
    assert references(task, folder, request) == wanted
    # What is kept is of the stored tokens, whatever a rendering would give now.
    outside(**changes)
    assert references(task, folder, request) == wanted


def test_more_examples_than_the_store_has_are_not_kept(rows, outside, tmp_path):
    outside(without=LAST)
    request = request_for("open", tmp_path / "stores")
    folder = prepared(request)
    outside()
    assert len(references("open", folder, request)) == ROWS and not (pathlib.Path(folder) / NAME).exists()


def test_a_store_prepared_anew_under_the_same_name(rows, outside, tmp_path):
    request = request_for("open", tmp_path / "stores")
    folder = prepared(request)
    before = references("open", folder, request)
    file = pathlib.Path(folder) / NAME
    kept = file.read_bytes()
    assert stores.open_store(folder)[ROWS - 1]  # this process has the parts open
    outside(word="now")
    for part in pathlib.Path(folder).glob("part-*"):
        part.unlink()
    assert prepared(request) == folder
    outside()  # a process that began earlier has nothing of it
    assert references("open", folder, request) == before and file.read_bytes() == kept
    outside(word="now")
    after = references("open", folder, request)
    assert after == made_now(request) != before and file.read_bytes() != kept


def test_a_store_replaced_while_it_is_compared(rows, tmp_path, monkeypatch):
    request, other = (request_for("open", tmp_path / "stores", seed=seed) for seed in (0, 1))
    folder, others = prepared(request), prepared(other)
    take = stores.Lock.take

    def late(lock, **how):
        shutil.copytree(others, folder, dirs_exist_ok=True)
        return take(lock, **how)

    monkeypatch.setattr(stores.Lock, "take", late)
    assert references("open", folder, request) == made_now(request)
    assert not (pathlib.Path(folder) / NAME).exists()


def test_where_nothing_can_be_kept_scoring_goes_on(rows, tmp_path):
    request = request_for("open", tmp_path / "stores")
    folder = pathlib.Path(prepared(request))
    with stores.Lock(folder):  # another process is at it
        assert references("open", str(folder), request) == made_now(request)
    assert not (folder / NAME).exists()
    (folder / NAME).mkdir()  # nothing can be put in its place
    assert references("open", str(folder), request) == made_now(request)
    (folder / NAME).rmdir()
    (folder / f"{NAME}.partial-1").write_text("of a process that was killed")
    assert references("open", str(folder), request) == made_now(request)
    assert {path.name for path in folder.iterdir() if path.suffix != ".bin"} == {"manifest.json", NAME}
    with stores.Lock(folder):
        stores.remove(folder)
    assert references("open", str(folder), request) == made_now(request)
    assert not folder.exists()


def test_at_an_address_all_machines_read_what_one_has_kept(rows, tmp_path, monkeypatch):
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "first"))
    request = request_for("open", "memory://references")
    folder = prepared(request)
    wanted = references("open", folder, request)
    rows.rename(tmp_path / "away")
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "second"))
    assert references("open", folder, request) == wanted
    kept = mirror.place(folder)
    assert repair_one(kept) == [] and references("open", folder, request) == wanted
    # What is damaged at the address, or only here, is mended.
    (tmp_path / "away").rename(rows)
    fsspec.filesystem("memory").pipe_file(f"{folder.removeprefix('memory:/')}/{NAME}", b"?")
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "third"))
    assert references("open", folder, request) == wanted
    rows.unlink()
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "fourth"))
    assert references("open", folder, request) == wanted
    with stores.Lock(mirror.place(folder)):
        stores.remove(mirror.place(folder))
    assert mirror.names(mirror.place(folder)) == [] and not mirror.place(folder).exists()


def test_of_other_code_nothing_is_kept(tmp_path):
    import tensorflow as tf

    feature = seqio.Feature(seqio.ByteVocabulary())
    seqio.TaskRegistry.add(
        "theirs",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices({"targets": ["yes", "no"]}),
            splits=["train"],
        ),
        preprocessors=[seqio.preprocessors.tokenize],
        output_features={"targets": feature},
        postprocess_fn=lambda text, **_: {text},
    )
    request = request_for("theirs", tmp_path, limit=2)
    folder = prepared(request)
    assert [target for target, _ in references("theirs", folder, request)] == [{"yes"}, {"no"}]
    assert not (pathlib.Path(folder) / NAME).exists()
