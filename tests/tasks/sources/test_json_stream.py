import io
import json
import random
import subprocess
import sys
import tracemalloc

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks.sources import json_stream
from flan_jax.tasks.sources.json_stream import items


def read(text, at=""):
    return list(items(io.BytesIO(text if isinstance(text, bytes) else text.encode()), "f.json", at))


def random_value(draw, depth):
    kind = draw.randrange(8 if depth else 6)
    if kind == 6:
        return [random_value(draw, depth - 1) for _ in range(draw.randrange(4))]
    if kind == 7:
        return {draw.choice('abé"\\'): random_value(draw, depth - 1) for _ in range(draw.randrange(4))}
    return draw.choice([None, True, -12, 1.5e3, 0, 'a "quoted" \\ é😀\n', "", "]},{[", 123456789])


@pytest.mark.parametrize("chunk", [1, 2, 7, 2**18])
def test_items_are_those_of_the_json_library_wherever_reads_end(monkeypatch, chunk):
    monkeypatch.setattr(json_stream, "_CHUNK", chunk)
    draw = random.Random(chunk)
    for number in range(40):
        array = [random_value(draw, 3) for _ in range(draw.randrange(6))]
        how = dict(indent=draw.choice([None, 1]), ensure_ascii=bool(number % 2))
        assert read(json.dumps(array, **how)) == array
        assert read(b"\xef\xbb\xbf" + json.dumps(array, **how).encode()) == array
        whole = {"before": random_value(draw, 3), "rows": array, "after": [1]}
        assert read(json.dumps(whole, **how), "rows") == array
        named = {"rows": {str(number): item for number, item in enumerate(array)}}
        assert read(json.dumps(named, **how), "rows") == array


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("[1, 2", "", "not a JSON file.* its end"),
        ('[1, {"a": "b', "", "not a JSON file: .*at character 10"),
        ("[1, 2,]", "", "not a JSON file: Expecting value at character 6"),
        ("[1 2]", "", "wanted at character 3, not '2'"),
        ("[1] [2]", "", "more follows"),
        ("[1, nul]", "", "not a JSON file"),
        ('["\xff"]'.encode("latin1"), "", "not a JSON file.*utf-8"),
        ("", "", "not a JSON file"),
        ("3", "", "holds a int, not a JSON array"),
        ('{"a": "x"}', "a", "holds a str, not a JSON array"),
        ('{"a": [1]}', "b", "no key 'b'"),
        ("{}", "b", "no key 'b'"),
        ("[1]", "b", "no key 'b'"),
        ('{"a" [1]}', "a", "not a JSON file"),
        ("[" * 100_000, "", "nested too deep"),
        ('{"a":' * 100_000, "", "nested too deep"),
        ('{"a": ' + "[" * 100_000, "a", "nested too deep"),
    ],
)
def test_faults_are_told(text, at, message):
    with pytest.raises(UserError, match=message):
        read(text, at)


def test_objects_one_after_another_are_items_too(monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK", 4)
    rows = [{"text": f"page {number}"} for number in range(5)]
    assert read("\n".join(map(json.dumps, rows)) + "\n") == rows
    assert read(json.dumps({"a": rows[0], "b": rows[1]})) == rows[:2]  # an object alone holds the rows
    with pytest.raises(UserError, match=r"is not a JSON file: .*; use jsonl"):
        read(json.dumps(rows[0]) + "\nno more")


def test_items_before_a_fault_are_given():
    found = items(io.BytesIO(b'[{"a": 1}, {"a": 2}, oops]'), "f.json")
    assert [next(found), next(found)] == [{"a": 1}, {"a": 2}]
    with pytest.raises(UserError, match="character 21"):
        next(found)


def test_an_object_of_objects_is_read_as_it_comes():
    assert read('{"t_1": {"a": 1}, "t_2": {"a": 2}}') == [{"a": 1}, {"a": 2}]
    found = items(io.BytesIO(b'{"t_1": {"a": 1}, "t_2": oops'), "f.json")
    assert next(found) == {"a": 1}
    with pytest.raises(UserError, match="Expecting value at character 25"):
        next(found)


def test_objects_that_follow_one_another_are_rows():
    """JSON lines that are called .json, and objects over several lines; one alone is what its keys hold."""
    assert read('{"a": "b", "c": [1]}\n{"a": "d"}\n') == [{"a": "b", "c": [1]}, {"a": "d"}]
    assert read('{\n"a": "b"\n}{\n"a": "d"}') == [{"a": "b"}, {"a": "d"}] and read('{"a": "b", "c": 1}') == ["b", 1]
    found = items(io.BytesIO(b'{"a": "b"}\n{"a": "c"}\n3'), "f.json")
    assert [next(found), next(found)] == [{"a": "b"}, {"a": "c"}]
    with pytest.raises(UserError, match="a int follows an object; use jsonl"):
        next(found)


def test_what_has_no_end_is_given_up(monkeypatch):
    monkeypatch.setattr(json_stream, "LARGEST_ITEM", 10_000)
    monkeypatch.setattr(json_stream, "_CHUNK", 1000)
    file = io.BytesIO(b'["' + b"x" * 1_000_000)
    with pytest.raises(UserError, match="Unterminated string"):
        list(items(file, "f.json"))
    assert file.tell() < 100_000


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "large.json"
    with path.open("w") as file:
        file.write("[" + ",".join(json.dumps({"n": n, "text": "x" * 1000}) for n in range(30_000)) + "]")
    tracemalloc.start()
    with path.open("rb") as file:
        assert sum(item["n"] for item in items(file, str(path))) == 30_000 * 29_999 // 2
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 30e6 > 6 * peak


GIGABYTE = """
import resource, sys, time
from flan_jax.tasks import json_array
source = json_array(sys.argv[1])
next(source.rows("train"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
began = time.monotonic()
rows = sum(1 for _ in source.rows("train"))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, time.monotonic() - began)
"""


@pytest.mark.slow
def test_an_array_of_a_gigabyte_is_streamed(tmp_path):
    path, row = tmp_path / "large.json", json.dumps({"prompt": "wörd {} " * 60, "completion": "plum " * 20})
    with path.open("w") as file:
        file.write("[" + row)
        for _ in range(2**30 // len(row) // 100 + 1):
            file.write(f",\n{row}" * 100)
        file.write("]")
    done = subprocess.run([sys.executable, "-c", GIGABYTE, path], capture_output=True, text=True, check=True)
    rows, more, seconds = done.stdout.split()
    assert int(rows) == 100 * (2**30 // len(row) // 100 + 1) + 1 and path.stat().st_size > 2**30
    assert int(more) < 64 * 1024  # KiB
    print(f"{path.stat().st_size / 2**20 / float(seconds):.0f} MiB/s, {int(more) / 1024:.0f} MiB more")
