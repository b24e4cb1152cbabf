import dataclasses
import json

from flan_jax.tasks import Tally
from flan_jax.tasks.sources import Grouped, jsonl


def test_groups_are_read_in_parts(tmp_path):
    rows = [{"by": by, "n": n} for n, by in enumerate("aabbbc")] + [{"n": 6}, {"n": 7}]
    (tmp_path / "r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Grouped(jsonl(tmp_path / "r.jsonl"), "by")
    read = lambda source, *part: [[row["n"] for row in group["together"]] for _, group in source.rows("train", *part)]
    whole = [[0, 1], [2, 3, 4], [5], [6], [7]]
    assert read(source) == whole
    assert [group for at in range(0, 6, 2) for group in read(source, "error", None, at, at + 2)] == whole
    assert read(source, "error", None, 3, None) == whole[3:] and read(source, "error", None, 1, 2) == whole[1:2]
    for sliced, wanted in (("[1:3]", whole[1:3]), ("[-2:]", whole[-2:]), ("[:-2]", whole[:-2])):
        assert read(dataclasses.replace(source, slices=(("train", sliced),))) == wanted


def test_each_bad_row_is_counted_once_with_the_group_that_it_is_in_or_stands_before(tmp_path):
    lines = ['{"by": "a"}', "{", '{"by": "a"}', '{"by": "b"}', "[", '{"by": "c"}', "]"]
    (tmp_path / "r.jsonl").write_text("\n".join(lines))
    source = Grouped(jsonl(tmp_path / "r.jsonl"), "by")
    tallies = [Tally() for _ in range(3)]
    for at, tally in enumerate(tallies):
        found = list(source.rows("train", "skip", tally, at, at + 1 if at < 2 else None))
        assert [len(group["together"]) for _, group in found] == [[2], [1], [1]][at]
    assert [tally.bad_rows for tally in tallies] == [1, 0, 2]  # one before a group is its, as of those after the last


def test_a_file_of_nothing_but_bad_rows_is_counted_too(tmp_path):
    (tmp_path / "r.jsonl").write_text("{\n[\n")
    tally = Tally()
    assert not list(Grouped(jsonl(tmp_path / "r.jsonl"), "by").rows("train", "skip", tally))
    assert tally == Tally(read=2, bad_rows=2)
