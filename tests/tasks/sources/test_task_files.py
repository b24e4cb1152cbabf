"""Task files: rows are instances with the file's head, wherever it stands; and rows that are drawn once and for all."""

import gzip
import io
import json
import tracemalloc

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, jsonl
from flan_jax.tasks.sources import besides_files, json_stream, task_file, task_files

INSTANCES = [{"id": "same", "input": f"plum {number}", "output": ["a"]} for number in range(6)]


@pytest.fixture
def write(tmp_path):
    def write(content, name="task075_squad1.1-Answer_generation.json"):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return str(tmp_path / name)

    return write


def test_a_row_is_an_instance_with_the_head_that_stands_on_either_side(write):
    path = write({"Definition": ["Do."], "Instances": INSTANCES, "Examples": {"a": 1}})
    rows = list(task_file(path, validation_rows=1).rows("train"))
    assert [row_id for row_id, _ in rows] == [f"task075_squad1.1-Answer_generation:{n}" for n in range(1, 6)]
    first, second = rows[0][1], rows[1][1]
    assert first == {
        "Definition": ["Do."],
        "Examples": {"a": 1},
        "Task": "task075_squad1.1-Answer_generation",
        **INSTANCES[1],
    }
    assert first["Examples"] is second["Examples"] and first["Definition"] is second["Definition"]


def test_byte_order_mark_crlf_and_gzip(write):
    text = json.dumps({"Instances": INSTANCES, "Definition": "Do."}, indent=1).replace("\n", "\r\n")
    path = write(gzip.compress(b"\xef\xbb\xbf" + text.encode()), "task1.json.gz")
    rows = list(task_file(path).rows("train"))
    assert len(rows) == 6 and rows[5][0] == "task1:5" and rows[5][1]["Definition"] == "Do."


def test_a_broken_instance_is_bad_at_its_place(write):
    path = write({"Instances": [INSTANCES[0], "lost", INSTANCES[1]]}, "task2.json")
    tally = Tally()
    assert [one for one, _ in task_file(path).rows("train", "skip", tally)] == ["task2:0", "task2:2"]
    assert tally.bad_rows == 1
    with pytest.raises(UserError, match=r"task2.json, instance 2: a JSON str, not an object.*--on_bad_row skip"):
        list(task_file(path).rows("train"))
    broken = write(b'{"Definition": "\\ud800", "Instances": [{}]}', "task3.json")
    with pytest.raises(UserError, match=r"task3.json, instance 1: the file's head has a lone surrogate"):
        list(task_file(broken).rows("train"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"Definition": "Do.", "Instance": []}, "no task file: it has no key 'Instances'.*did you mean 'Instance'"),
        ({"Instances": {"0": {}}}, "no task file: 'Instances' is no array"),
        (b'{"Definition": "Do."', "not a JSON file that holds one object: .* its end"),
        ([1, 2], "not a JSON file that holds one object"),
        (b'{"a": ' + b"[" * 100_000, "nested too deep"),
    ],
)
def test_a_file_that_is_none_is_told(write, content, message):
    with pytest.raises(UserError, match=message):
        list(task_file(write(content)).rows("train"))


def test_heads_are_read_without_the_instances_and_no_further_than_wanted():
    array = b"[" + b",".join([b'{"input": "' + b"x" * 1000 + b'"}'] * 5000) + b"]"
    whole = b'{"Categories": ["A"], "Instances": ' + array + b', "After": 2}'
    tracemalloc.start()
    assert json_stream.head(io.BytesIO(whole), "f", "Instances") == {"Categories": ["A"], "After": 2}
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert held < 3e6 < len(whole)
    torn = io.BytesIO(whole[:2_000_000])
    assert json_stream.head(torn, "f", "Instances", only=["Categories"]) == {"Categories": ["A"]}
    assert torn.tell() < 1_000_000 and json_stream.has_array(io.BytesIO(whole[:900_000]), "Instances")
    assert not json_stream.has_array(io.BytesIO(b'{"prompt": 1}\n{"Instances": []}'), "Instances")


def test_rows_are_drawn_once_and_for_all(tmp_path, write):
    path = write({"Instances": [{"input": str(number)} for number in range(50)]}, "task4.json")
    how = {"splits": {"train": "[10:]", "validation": "[:10]"}, "drawn": {"train": 8}}
    source = task_file(path, **how)
    rows = list(source.rows("train"))
    numbers = [int(row_id.partition(":")[2]) for row_id, _ in rows]
    assert len(rows) == 8 == source.num_rows("train") and numbers == sorted(numbers) and min(numbers) >= 10
    assert numbers != list(range(10, 18)) and [row["input"] for _, row in rows] == list(map(str, numbers))
    assert [
        *source.rows("train", stop=3),
        *source.rows("train", start=3, stop=7),
        *source.rows("train", start=7),
    ] == rows
    assert len(list(source.rows("validation"))) == 10 == source.num_rows("validation")
    (tmp_path / "moved").mkdir()
    moved = tmp_path / "moved" / "task4.json"
    moved.write_bytes((tmp_path / "task4.json").read_bytes())
    assert list(task_file(str(moved), **how).rows("train")) == rows
    # Which are drawn shapes a task; a source that draws none is told apart from others as ever.
    fewer = task_file(path, **how | {"drawn": {"train": 7}})
    assert besides_files(fewer) != besides_files(source) and len(besides_files(jsonl("x.jsonl"))) == 3
    assert len(list(task_file(path, drawn={"train": 99}).rows("train"))) == 50


def test_a_task_is_called_by_its_file():
    assert task_files.stem("a/b.c/task603_wikitext-103_fill.json.gz") == "task603_wikitext-103_fill"
