import gzip
import json

import fsspec
import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import InstructionTask, csv, generator, json_array, jsonl, sources, text
from flan_jax.tasks.examples import fingerprint
from flan_jax.tasks.sources import file_source, readers
from flan_jax.tasks.tally import Tally


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_jsonl_numbers_rows_by_line_and_names_the_file(tmp_path):
    path = tmp_path / "task075_squad1.1.jsonl"
    path.write_text('\ufeff{"a": 1}\n\n{"a": 2}\n', encoding="utf-8")
    source = jsonl(path)
    assert list(source.rows("train")) == [("task075_squad1.1:0", {"a": 1}), ("task075_squad1.1:2", {"a": 2})]
    assert source.where("train", "task075_squad1.1:2") == f"{path}:3"
    assert source.num_rows("train") == 2


def test_a_line_that_is_not_json_is_named_with_file_and_line(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": \n[1]\n{"a": "\xff"}\n{"a": 5}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl:2: not JSON .*on_bad_row"):
        list(jsonl(path).rows("train"))
    tally = Tally()
    assert [row["a"] for _, row in jsonl(path).rows("train", "skip", tally)] == [1, 5]
    assert (tally.read, tally.bad_rows) == (3, 3)
    own = jsonl(path, on_bad_row="skip")
    assert len(list(own.rows("train", "error"))) == 2


def test_files_with_the_same_stem_are_told_apart(tmp_path):
    for folder in ("CB", "COPA"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "train.json").write_text('[{"a": 1}]')
    ids = [row_id for row_id, _ in json_array(f"{tmp_path}/*/train.json").rows("train")]
    assert ids == ["CB/train:0", "COPA/train:0"]


def test_slices_part_the_rows_of_all_files_without_overlap(tmp_path):
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", [{"n": f"{name}{n}"} for n in range(5)])
    source = jsonl(f"{tmp_path}/*.jsonl", splits={"train": "[:-3]", "validation": "[-3:]"})
    parts = {split: [row["n"] for _, row in source.rows(split)] for split in source.splits}
    assert parts == {"train": ["a0", "a1", "a2", "a3", "a4", "b0", "b1"], "validation": ["b2", "b3", "b4"]}
    assert source.num_rows("train") == 7 and source.num_rows("validation") == 3
    held = jsonl(f"{tmp_path}/*.jsonl", validation_rows=4)
    assert [row_id for row_id, _ in held.rows("validation")] == ["a:0", "a:1", "a:2", "a:3"]
    assert len(list(held.rows("train"))) == 6


def test_splits_by_file(tmp_path):
    train, dev = write_lines(tmp_path / "t.jsonl", [{"n": 1}]), write_lines(tmp_path / "d.jsonl", [{"n": 2}])
    source = jsonl({"train": train, "validation": dev})
    assert [row["n"] for split in source.splits for _, row in source.rows(split)] == [1, 2]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: list(jsonl(path).rows("validaton")), r"no split 'validaton' \(there is train\).*splits="),
        (lambda path: list(jsonl(str(path) + "x").rows("train")), "No file matches"),
        (lambda path: jsonl(path, splits={"train": "200"}), r"'\[200:\]'"),
        (lambda path: jsonl({"train": path}, validation_rows=3), "not both"),
        (lambda path: jsonl(path, splits={"train": "[:]"}, validation_rows=3), "not both"),
        (lambda path: jsonl(path, on_bad_row="ignore"), '"error" or "skip"'),
        (lambda path: text(path, unit="paragraf"), "did you mean 'paragraph'"),
        (lambda path: list(json_array(path.parent / "torn.json").rows("train")), r"not a JSON file.*jsonl"),
        (lambda path: list(json_array(path.parent / "o.json", at="Rows").rows("train")), "no key 'Rows'"),
    ],
)
def test_faults_name_what_was_wanted(tmp_path, make, message):
    path = tmp_path / "rows.jsonl"
    write_lines(path, [{"a": 1}, {"a": 2}])
    (tmp_path / "torn.json").write_text('[{"a": 1}, {"a"')
    (tmp_path / "o.json").write_text('{"rows": []}')
    with pytest.raises(UserError, match=message):
        make(path)


def test_a_file_that_breaks_off_is_no_end_of_data(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({"n": n, "text": str(n * 7919)}) + "\n" for n in range(5000))
    assert len(list(jsonl(path).rows("train"))) == 5000
    path.write_bytes(path.read_bytes()[:-2000])
    for how in ("error", "skip"):
        with pytest.raises(UserError, match=r"t\.jsonl\.gz cannot be read to its end"):
            list(jsonl(path).rows("train", how))


def test_json_that_is_nested_too_deep_is_a_bad_row(tmp_path):
    """For Python's reader, and for what then looks through it."""
    path = tmp_path / "rows.jsonl"
    for depth in (900, 100_000):
        path.write_text(f'{{"a": 1}}\n{{"a": {"[" * depth}{"]" * depth}}}\n{{"a": 3}}\n')
        with pytest.raises(UserError, match=r"rows\.jsonl:2: JSON that is nested too deep to be read"):
            list(jsonl(path).rows("train"))
        assert [row["a"] for _, row in jsonl(path).rows("train", "skip")] == [1, 3]


@pytest.mark.parametrize(
    ("content", "told", "left"),
    [
        (b'q,a\na,b\nc,"d\ne,f\ng,h\n', "row 2: a quote in line 3 is never closed", ["a"]),
        (b'q,a\na,b\nc,"d\ne" f\n', None, ["a", "c"]),
        (b'\n\nq,a\na,b\n\nc,d\n', None, ["a", "c"]),
        (b'q,q,a\na,b,c\n', "names the column 'q' more than once", None),
        (b'q,a,,\na,b,,\n', None, ["a"]),
        ("q,a\na,b\n".encode("utf-16"), None, ["a"]),
        ("q,a\na,b\n".encode("utf-16-le"), "row 1: not UTF-8; save the file as UTF-8", []),
    ],
)  # fmt: skip
def test_csv_that_was_torn_or_edited(tmp_path, content, told, left):
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    if told:
        with pytest.raises(UserError, match=told):
            list(csv(path).rows("train"))
    if left is not None:
        assert [row["q"] for _, row in csv(path).rows("train", "skip")] == left


def test_csv_and_headerless_tsv(tmp_path):
    (tmp_path / "a.csv").write_text('question,answer\n"one, two",x\nthree\nfour,y\n')
    source = csv(tmp_path / "a.csv")
    with pytest.raises(UserError, match=r"a\.csv, row 2: 1 columns where 2 are wanted \(question, answer\)"):
        list(source.rows("train"))
    assert [row["question"] for _, row in source.rows("train", "skip")] == ["one, two", "four"]
    (tmp_path / "b.tsv").write_text('say "no\tyes\n')
    tsv = csv(tmp_path / "b.tsv", delimiter="\t", columns=("question", "answer"), quoted=False)
    assert list(tsv.rows("train")) == [("b:0", {"question": 'say "no', "answer": "yes"})]


def test_json_array_under_a_key_gzipped_and_as_an_object(tmp_path):
    with gzip.open(tmp_path / "t.json.gz", "wt") as file:
        json.dump({"Definition": "x", "Instances": [{"n": 1}, {"n": 2}]}, file)
    assert list(json_array(tmp_path / "t.json.gz", at="Instances").rows("train"))[1] == ("t:1", {"n": 2})
    (tmp_path / "i.json").write_text('{"examples": {"1": {"n": 1}, "2": {"n": 2}}}')
    assert [row["n"] for _, row in json_array(tmp_path / "i.json", at="examples").rows("train")] == [1, 2]


def test_text_units(tmp_path):
    (tmp_path / "t.txt").write_text("one\ntwo\n\n\nthree\n")
    found = {u: [row["text"] for _, row in text(tmp_path / "t.txt", unit=u).rows("train")] for u in sources.TEXT_UNITS}
    assert found == {
        "paragraph": ["one\ntwo", "three"],
        "line": ["one", "two", "three"],
        "file": ["one\ntwo\n\n\nthree"],
    }


def test_a_generator_that_yields_no_dict_is_a_bad_row():
    source = generator(lambda split: iter([{"a": (1, 2)}, "text"]))
    with pytest.raises(UserError, match=r"row 1 of .*a str, not a dict"):
        list(source.rows("train"))
    assert list(source.rows("train", "skip")) == [("train:0", {"a": [1, 2]})]


def test_a_seqio_source_gives_plain_rows():
    def dataset(split, shuffle_files=False, seed=None):
        return tf.data.Dataset.from_tensor_slices({"text": ["caf\u00e9", "b"], "label": [0, 1]})

    source = sources.as_source(seqio.FunctionDataSource(dataset, splits=("train",)))
    assert list(source.rows("train")) == [
        ("train:0", {"text": "caf\u00e9", "label": 0}),
        ("train:1", {"text": "b", "label": 1}),
    ]
    with pytest.raises(UserError, match="no split 'test'"):
        list(source.rows("test"))


def seqio_letters(split, shuffle_files=False, seed=None):
    return tf.data.Dataset.from_tensor_slices({"text": list("abcdefghijk")})


def sliceable(tmp_path):
    """Sources of every kind; some of their rows are bad."""
    for name in ("a", "b", "c"):
        lines = [json.dumps({"n": f"{name}{n}"}) for n in range(6)]
        lines[2:2] = ["", "no JSON"]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f"{n},x\n" for n in range(7)) + "bad\n8,x\n")
    (tmp_path / "t.json").write_text(json.dumps([*({"n": n} for n in range(6)), "bad", {"n": 7}]))
    (tmp_path / "t.txt").write_text("\n\n".join(f"passage {n}\nof two lines" for n in range(9)))
    everything = f"{tmp_path}/*.jsonl"
    return {
        "jsonl": jsonl(everything),
        "held": jsonl(everything, validation_rows=8),
        "ends": jsonl(everything, splits={"train": "[1:-4]", "validation": "[-4:]"}),
        "csv": csv(tmp_path / "t.csv"),
        "json": json_array(tmp_path / "t.json"),
        "text": text(tmp_path / "t.txt"),
        "generator": generator(lambda split: iter([{"n": n} for n in range(5)] + ["bad"] + [{"n": 6}])),
        "seqio": sources.as_source(seqio.FunctionDataSource(seqio_letters, splits=("train",))),
    }


def part_of(source, split, start, stop):
    """Ids and rows of a part, and how many bad rows were counted in it."""
    tally = Tally()
    return list(source.rows(split, "skip", tally, start, stop)), tally.bad_rows


@pytest.mark.parametrize("kind", ["jsonl", "held", "ends", "csv", "json", "text", "generator", "seqio"])
def test_a_part_of_a_split_is_what_lies_there_in_the_whole(tmp_path, kind):
    source = sliceable(tmp_path)[kind]
    for split in source.splits:
        ones = []
        while any(part_of(source, split, len(ones), None)):  # row by row
            ones.append(part_of(source, split, len(ones), len(ones) + 1))
        assert len(ones) > 3 and all(len(rows) + bad == 1 for rows, bad in ones)
        whole = part_of(source, split, 0, None)
        for start, stop in [(0, None), (0, 3), (2, 6), (5, len(ones)), (3, 3), (4, 99), (99, None), (99, 100)]:
            wanted = ones[start:stop]
            rows = [row for found, _ in wanted for row in found]
            assert part_of(source, split, start, stop) == (rows, sum(bad for _, bad in wanted))
        assert whole[0] == [row for found, _ in ones for row in found]
        if kind not in ("text", "seqio", "ends") and split == "train":
            assert whole[1] > 0  # bad rows take a number


def test_rows_before_a_part_are_not_parsed(tmp_path, monkeypatch):
    source = sliceable(tmp_path)["jsonl"]
    parsed = []
    parse = type(source.reader).parse
    monkeypatch.setattr(type(source.reader), "parse", lambda self, unit: parsed.append(unit) or parse(self, unit))
    assert [row_id for row_id, _ in source.rows("train", "skip", start=15, stop=18)] == ["c:1", "c:4"]
    assert len(parsed) == 3


@pytest.fixture
def memory():
    """An fsspec file system in memory."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def test_addresses_are_read_like_paths(memory, model):
    lines = [json.dumps({"n": n}).encode() for n in range(10)]
    memory.pipe_file("/shelf/a.jsonl", b"\n".join(lines[:6]))
    memory.pipe_file("/shelf/b.jsonl.gz", gzip.compress(b"\n".join(lines[6:])))
    source = jsonl("memory://shelf/*", validation_rows=2)
    assert [row["n"] for _, row in source.rows("train")] == list(range(2, 10))
    assert [row_id for row_id, _ in source.rows("train", start=3, stop=6)] == ["a:5", "b:0", "b:1"]
    assert source.where("train", "b:1").endswith("shelf/b.jsonl.gz:2")
    assert source.num_rows("train") is None  # counting would fetch the files
    InstructionTask("t", source, ("{n}",), answer="n", vocabulary=model).register()
    before = fingerprint("t")
    assert before == fingerprint("t")
    memory.pipe_file("/shelf/a.jsonl", b"\n".join(lines[1:7]))
    assert fingerprint("t") != before
    with pytest.raises(UserError, match="No file matches 'memory://none/"):
        list(jsonl("memory://none/*").rows("train"))


def test_a_files_rows_are_counted_once_for_each_state_of_it(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    write_lines(path, [{"n": 1}] * 5)
    opened = []
    open_rows = readers.open_rows
    monkeypatch.setattr(readers, "open_rows", lambda path: opened.append(path) or open_rows(path))
    assert [jsonl(path).num_rows("train") for _ in range(3)] == [5, 5, 5] and len(opened) == 1
    write_lines(path, [{"n": 1}] * 6)
    assert jsonl(path).num_rows("train") == 6 and len(opened) == 2
    monkeypatch.setattr(file_source, "CHEAP_BYTES", 10)
    assert jsonl(path).num_rows("train") == 6 and len(opened) == 2
    write_lines(path, [{"n": 1}] * 7)
    assert jsonl(path).num_rows("train") is None and len(opened) == 2
