import json
import os

from flan_jax.tasks import generator, jsonl
from flan_jax.tasks.sources import parts


def numbers(opened):
    def open_at(start):
        opened.append(start)
        return iter(range(start, 100))

    return open_at


def test_parts_one_after_another_open_the_stream_once():
    opened, owner = [], object()
    open_at = numbers(opened)
    found = [list(parts.part(owner, ("train",), open_at, start, start + 30)) for start in (0, 30, 60, 90, 120)]
    assert found == [list(range(30)), list(range(30, 60)), list(range(60, 90)), list(range(90, 100)), []]
    assert opened == [0, 120]  # what was read to its end is let go


def test_a_later_part_goes_on_and_an_earlier_one_opens_anew():
    opened, owner = [], object()
    open_at = numbers(opened)
    assert list(parts.part(owner, (), open_at, 0, 10)) == list(range(10))
    assert list(parts.part(owner, (), open_at, 50, 60)) == list(range(50, 60))
    assert list(parts.part(owner, (), open_at, 20, 25)) == list(range(20, 25))
    assert list(parts.part(owner, (), open_at, 60, 61)) == [60]
    assert opened == [0, 20]


def test_streams_are_told_apart_by_owner_and_state():
    opened, owners = [], [object(), object()]
    for owner in owners:
        for state in ("train", "validation"):
            assert list(parts.part(owner, (state,), numbers(opened), 0, 5)) == [0, 1, 2, 3, 4]
    assert opened == [0, 0, 0, 0]


def test_readers_side_by_side_do_not_disturb_each_other():
    owner, open_at = object(), numbers([])
    list(parts.part(owner, (), open_at, 0, 10))
    first, second = parts.part(owner, (), open_at, 10, 20), parts.part(owner, (), open_at, 10, 20)
    assert [pair for pair in zip(first, second, strict=True)] == [(n, n) for n in range(10, 20)]


def test_a_fork_reads_on_its_own(tmp_path):
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"n": n, "x": "y" * 500}) + "\n" for n in range(2000)))
    source = jsonl(tmp_path / "rows.jsonl")

    def part(number):
        return [row["n"] for _, row in source.rows("train", start=number * 100, stop=number * 100 + 100)]

    assert part(0) == list(range(100))
    children = []
    for child in range(3):
        pid = os.fork()
        if not pid:
            right = all(
                part(number) == list(range(number * 100, number * 100 + 100)) for number in range(1 + child, 20)
            )
            os._exit(0 if right else 1)
        children.append(pid)
    assert part(1) == list(range(100, 200))
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    assert part(2) == list(range(200, 300))


def test_a_file_that_changes_between_parts_is_read_anew(tmp_path):
    path = tmp_path / "rows.jsonl"
    source = jsonl(path)
    for value in "ab":
        path.write_text("".join(json.dumps({"n": f"{value}{n}"}) + "\n" for n in range(4)))
        assert [row["n"] for _, row in source.rows("train", start=2 if value == "b" else 0, stop=4)][-1] == f"{value}3"


def test_a_generator_is_asked_once_for_parts_in_order():
    asked = []

    def rows(split):
        asked.append(split)
        yield from ({"n": n} for n in range(50))

    source = generator(rows)
    found = [row["n"] for start in range(0, 50, 10) for _, row in source.rows("train", start=start, stop=start + 10)]
    assert found == list(range(50)) and asked == ["train"]
