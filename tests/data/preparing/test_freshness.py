"""Stores follow what tasks give, also where nothing that a fingerprint sees has changed."""

import dataclasses
import os
import pathlib
import re
import shutil

import pytest

from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.resolve import resolve
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.data.stores.store import Store
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError

TASKS = """
import functools, json, os
import seqio
import tensorflow as tf
from flan_jax.data.stores import store
from flan_jax.tasks import ChatTask, InstructionTask, generator, jsonl, mixture

store.PART_ROWS = 80  # `late` has two parts

HERE = os.path.dirname(os.path.abspath(__file__))
BYTES = seqio.ByteVocabulary()


def told(row):
    with open(HERE + "/mood.txt") as file:
        return row | {"word": file.read() + row["word"]}


def task(name, **more):
    InstructionTask(
        name=name, source=jsonl(HERE + "/words.jsonl"), templates=("Say {word}.", "{word}:"), answer="word",
        vocabulary=BYTES, **more
    ).register()


task("moody", preprocess=told)
task("plain")
LONG = "A much longer wording of the same, for which there may be no room: {word}", "Say {word}."
InstructionTask(
    name="one_is_long", source=jsonl(HERE + "/words.jsonl"), templates=LONG, answer="word", vocabulary=BYTES,
).register()




def otherwise(row):
    # Nothing of this is in the prompt; of two answers that are cut at the same place only the number differs. The file
    # is not opened, so that nothing but the examples tells.
    mood = "loud " if os.path.getsize(HERE + "/mood.txt") else ""
    ask, say = {"role": "user", "content": row["word"]}, {"role": "assistant", "content": "Yes."}
    return row | {
        "said": mood + row["word"],
        "messages": [ask, say | {"loss_weight": 0.5 if mood else 1.0}],
        "choices": [row["word"], mood + "stone"],
        "long_choices": ["so long that it is cut: " + end for end in ("one", "two")],
        "longer": int(bool(mood)),
    }


other = {"source": jsonl(HERE + "/words.jsonl"), "preprocess": otherwise, "vocabulary": BYTES}
asking = other | {"templates": "Say {word}."}
InstructionTask("other_targets", answer="said", **asking).register()
ChatTask("other_weights", **other).register()
InstructionTask("other_options", answer="word", options="choices", **asking).register()
InstructionTask("other_answer", answer="longer", options="long_choices", **asking).register()
mixture("others", ["other_targets", "other_weights", "other_options", "other_answer"])


def read(n):
    with open(f"{HERE}/row {n}.txt") as file:
        return file.read()


kept = functools.cache(read)


def late(row):
    # Of the hundred rows, one at the beginning and one at the end are told by a file each.
    return row | {"word": row["word"] or (kept if row["n"] == "3" else read)(row["n"])}


def made(split):
    for line in open(HERE + "/words.jsonl"):
        yield json.loads(line)


rows = {"source": jsonl(HERE + "/rows.jsonl"), "templates": "Say {word}.", "answer": "n", "vocabulary": BYTES}
InstructionTask("late", preprocess=late, inverted_templates=(("{answer}", "{word}"),), **rows).register()
made_from = generator(made, ("train",))
InstructionTask("made", source=made_from, templates="Say {word}.", answer="word", vocabulary=BYTES).register()
mixture("by_files", ["late", "late.inverted", "made", "plain"])


def say(i):
    word = tf.strings.join([tf.io.read_file(HERE + "/mood.txt"), os.environ.get("MOOD", ""), tf.strings.as_string(i)])
    return {"inputs": word, "targets": tf.strings.as_string(i)}


seqio.TaskRegistry.add(
    "foreign",
    source=seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.range(12).map(say), splits=["train"]
    ),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
)
mixture("both", ["moody", "plain"])
seqio.MixtureRegistry.add("three", ["moody", "plain", "foreign"], default_rate=1.0)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("moods")
    (folder / "moody_tasks.py").write_text(TASKS)
    (folder / "words.jsonl").write_text("".join(f'{{"word": "word {i}"}}\n' for i in range(30)))
    words = ("" if i in (3, 90) else f"word {i}" for i in range(100))
    (folder / "rows.jsonl").write_text("".join(f'{{"n": "{i}", "word": "{word}"}}\n' for i, word in enumerate(words)))
    return folder


@pytest.fixture(scope="module")
def process(place):
    with _process(place) as one:
        yield one


@pytest.fixture
def another(place):
    """A process that has read nothing yet."""
    with _process(place) as one:
        yield one


def _process(place):
    reports = []
    process = Worker(WorkerSetup(("moody_tasks",), (str(place),)), reports.append)
    process.reports = reports
    return process


@pytest.fixture
def request_for(place, tmp_path):
    for name in ("mood", "row 3", "row 90"):
        (place / f"{name}.txt").write_text("" if name == "mood" else name)

    def make(mixture, **changes):
        base = Request(mixture, "train", {"inputs": 64, "targets": 16}, 0, str(tmp_path))
        return dataclasses.replace(base, **changes)

    return make


def contents(resolved):
    """Every example's inputs by task, as text."""
    stores.forget()
    found = {}
    for task in resolved.tasks:
        store = Store(task.store())
        found[task.name] = [bytes(int(t) - 3 for t in store[i].inputs).decode() for i in range(store.count)]
    return found


class Counting:
    """Says what the data process was asked."""

    def __init__(self, process):
        self.process, self.setup, self.asked = process, process.setup, []

    def call(self, op, **arguments):
        self.asked.append(op)
        return self.process.call(op, **arguments)


def test_what_code_reads_and_no_fingerprint_sees_is_noticed_and_prepared_anew(request_for, process, place, capsys):
    before = resolve(request_for("three"), process)
    calm = contents(before)
    capsys.readouterr()
    (place / "mood.txt").write_text("loud ")
    after = resolve(request_for("three"), process)
    assert [task.fingerprint for task in before.tasks] == [task.fingerprint for task in after.tasks]
    err, loud = capsys.readouterr().err, contents(after)
    assert f"task 'moody': {place}/mood.txt, which its code reads, is not what it was when its store was written" in err
    assert "task 'foreign': example " in err and "has other inputs now than its store holds; it is prepared" in err
    assert "plain" not in err and loud["plain"] == calm["plain"]
    assert all("loud " in text for text in loud["moody"] + loud["foreign"])
    assert [text.replace("loud ", "") for text in loud["moody"]] == calm["moody"]


def test_all_that_is_learnt_or_scored_is_compared_not_the_prompt_alone(request_for, process, place, capsys):
    request = request_for("others")
    first = lambda task: Store(next(found for found in resolve(request, process).tasks if found.name == task).store())[
        0
    ]
    assert first("other_weights").weights is None
    capsys.readouterr()
    (place / "mood.txt").write_text("loud ")
    stores.forget()
    assert bytes(int(t) - 3 for t in first("other_targets").targets[:-1]) == b"loud word 0"
    assert set(first("other_weights").weights.tolist()) == {0.5}
    found = re.findall(r"task '(\w+)': example \S+ has other ([\w ]+) now than", capsys.readouterr().err)
    assert dict(found) == {
        "other_targets": "targets",
        "other_weights": "loss weights",
        "other_options": "options",
        "other_answer": "answer or template",
    }


def test_the_environment_is_noticed_by_the_next_process_that_is_asked(request_for, process, place, monkeypatch, capsys):
    calm = contents(resolve(request_for("foreign"), process))
    monkeypatch.setenv("MOOD", "loud ")
    with Worker(WorkerSetup(("moody_tasks",), (str(place),))) as another:
        # Another request that shares the stores: the same one would be answered from before, without a process.
        loud = contents(resolve(request_for("foreign", max_draws=2), another))
    assert loud["foreign"] == [f"loud {text}" for text in calm["foreign"]]
    assert "task 'foreign': example 'train:" in capsys.readouterr().err


def test_an_answer_is_used_again_only_while_the_files_that_code_read_are_as_they_were(request_for, process, place):
    asked, request = Counting(process), request_for("both")
    for mood, calls in (("", 1), ("", 1), ("loud ", 2), ("loud ", 2), ("", 3)):
        if (place / "mood.txt").read_text() != mood:
            (place / "mood.txt").write_text(mood)
        texts = contents(resolve(request, asked))["moody"]
        assert all(text.startswith((f"Say {mood}word", f"{mood}word")) for text in texts)
        assert asked.asked == ["resolve"] * calls


def prepared(request, process, capsys):
    """Resolves; what is said, and how many stores were looked at."""
    process.reports.clear()
    capsys.readouterr()
    found = resolve(request, process)
    totals = [one["total"] for one in process.reports if one["what"] == "looking again at stores"]
    return found, capsys.readouterr().err, max(totals, default=0)


def test_a_file_that_was_read_for_any_row_is_noticed_and_a_touch_is_none(request_for, process, another, place, capsys):
    request = request_for("by_files")
    found, _, _ = prepared(request, process, capsys)
    folders = {task.name: pathlib.Path(task.store()) for task in found.tasks}
    files = {name: [path for path, *_ in stores.read_manifest(one).get("files", ())] for name, one in folders.items()}
    own = [str(place / "row 3.txt"), str(place / "row 90.txt")]
    # Of two tasks with the same function, the second finds in memory what the first one read.
    assert files == {"late": own, "late.inverted": own, "made": [str(place / "words.jsonl")], "plain": []}
    # An answer rests on them also where the stores stood there before and only the first rows are looked at.
    again = another.call("resolve", request=dataclasses.replace(request, max_draws=2))
    assert set(own) < {path for path, _ in again["watched"]}
    before = (folders["late"] / stores.MANIFEST).read_bytes()
    (place / "row 90.txt").write_text("row 90")  # another time, the same content
    assert prepared(request, process, capsys)[1:] == ("", 3)
    assert (folders["late"] / stores.MANIFEST).read_bytes() == before
    (place / "row 90.txt").write_text("row XC")
    after, err, _ = prepared(request, process, capsys)
    for name in ("late", "late.inverted"):
        said = f"task {name!r}: {place}/row 90.txt, which its code reads, is not what it was when its store was written"
        assert f"{said}; it is prepared anew" in err
    assert err.count("\n") == 2 and contents(after)["late"][90] == "Say row XC."
    # What is not there may be another machine's file.
    (place / "row 90.txt").unlink()
    assert prepared(request, process, capsys)[1:] == ("", 3)


def test_a_part_that_was_written_before_an_interruption_keeps_its_files(request_for, another, place, capsys):
    request = request_for("late")
    folder = pathlib.Path(prepared(request, another, capsys)[0].tasks[0].store())
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert len(whole) == 5
    for name in (stores.MANIFEST, "part-00001.bin", "part-00001.files.json"):
        (folder / name).unlink()
    stands = (folder / "part-00000.bin").stat().st_mtime_ns
    prepared(request, another, capsys)
    # Which of its files a part tells depends on which process wrote it; a store tells all.
    whole.pop("part-00001.files.json")
    assert {name: (folder / name).read_bytes() for name in whole} == whole
    assert (folder / "part-00000.bin").stat().st_mtime_ns == stands
    # A part whose files are others now is not gone on with.
    (folder / stores.MANIFEST).unlink()
    (place / "row 90.txt").write_text("row XC")
    assert contents(prepared(request, another, capsys)[0])["late"][90] == "Say row XC."
    assert (folder / "part-00000.bin").stat().st_mtime_ns == stands


def test_nothing_is_rendered_where_nothing_can_have_changed_but_for_stores_that_do_not_say_so(
    request_for, process, capsys
):
    request = request_for("plain")
    folder = pathlib.Path(prepared(request, process, capsys)[0].tasks[0].store())
    manifest = stores.read_manifest(folder)
    for renderer, looked_at in ((manifest["rendered_by"], 0), ("another", 1), (None, 1)):
        changed = {key: value for key, value in (manifest | {"rendered_by": renderer}).items() if value is not None}
        mirror.write_json(folder / stores.MANIFEST, {**changed, "digest": stores._digest(changed)})
        shutil.rmtree(folder.parents[2] / "resolved")  # the answer that is kept
        assert prepared(request, process, capsys)[1:] == ("", looked_at)


def test_parts_from_before_the_change_are_not_gone_on_with(request_for, process, place):
    """A store that was begun, or repaired, under other circumstances."""
    task = next(task for task in resolve(request_for("both"), process).tasks if task.name == "moody")
    folder = pathlib.Path(task.store())
    (folder / stores.MANIFEST).unlink()
    (place / "mood.txt").write_text("loud ")
    assert all("loud " in text for text in contents(resolve(request_for("both"), process))["moody"])


def drawn(process, request, task, draws):
    process.call("prepare", wanted=[(task.name, task.folder, task.fingerprint, d) for d in draws], request=request)
    return [Store(task.store(draw)) for draw in draws]


def test_all_draws_go_with_the_first_one(request_for, process, place):
    request = request_for("both")
    task = resolve(request, process).tasks[0]
    drawn(process, request, task, [1, 5])
    (place / "mood.txt").write_text("loud ")
    resolve(request, process)
    assert not any(pathlib.Path(task.store(draw)).exists() for draw in (1, 5))
    for store in drawn(process, request, task, [1, 5]):
        assert all(b"loud" in bytes(int(t) - 3 for t in store[i].inputs) for i in range(store.count))


def test_all_draws_hold_the_examples_of_the_first_one(request_for, process):
    """Also where some are dropped for the length of the wording they drew: a plan numbers them alike in all draws."""
    request = request_for("one_is_long", on_long="drop")
    task = resolve(request, process).tasks[0]
    first, *others = drawn(process, request, task, [0, 1, 2])
    ids = [first.id(i) for i in range(first.count)]
    assert 5 < len(ids) < 30 and task.count == len(ids)
    for store in others:
        assert [store.id(i) for i in range(store.count)] == ids
        assert max(store.lengths("inputs")) <= 64
    # And wherever it is prepared: before the first draw is, say.
    folder = pathlib.Path(task.store(2))
    before = (folder / "part-00000.bin").read_bytes()
    shutil.rmtree(folder.parent)
    drawn(process, request, task, [2])
    assert (folder / "part-00000.bin").read_bytes() == before


def test_a_later_draw_is_of_what_the_run_began_with(request_for, process, place):
    request = request_for("moody")
    task = resolve(request, process).tasks[0]
    wanted = [(task.name, task.folder, task.fingerprint, 3)]
    words = place / "words.jsonl"
    text, about = words.read_text(), words.stat()
    words.write_text(text + '{"word": "one more"}\n')
    try:
        with pytest.raises(UserError, match="task 'moody' is not what it was when this run began.*same command again"):
            process.call("prepare", wanted=wanted, request=request)
    finally:
        words.write_text(text)
        os.utime(words, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert not pathlib.Path(task.store(3)).exists()
    process.call("prepare", wanted=wanted, request=request)
    assert Store(task.store(3)).count == 30


def test_what_is_damaged_is_named_and_prepared_anew(request_for, process, capsys):
    request = request_for("both")
    folder = pathlib.Path(resolve(request, process).tasks[0].store())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for name, damage in (("part-00000.bin", b"flanpart"), ("manifest.json", b"{")):
        (folder / name).write_bytes(damage)
        capsys.readouterr()
        resolve(request, process)
        err = capsys.readouterr().err
        assert str(folder / name) in err and "what is missing is prepared anew" in err and err.count("\n") == 1
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
