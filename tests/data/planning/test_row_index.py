"""The index of rows: right or computed anew, whatever became of its file."""

import json

import numpy as np
import pytest

from flan_jax.data.planning import row_index
from flan_jax.data.planning.order import mix
from flan_jax.data.planning.plan import Plan, PlannedTask
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.errors import UserError

WINDOWS = 12


def plan_of(seed=0):
    return Plan([PlannedTask("t", 6000, 2**40, "f")], {"row": 64}, seed, largest_window=500)


class Lengths:
    """Any lengths will do, as long as an example always has the same; notes how many examples were asked for."""

    def __init__(self, salt=7):
        self.salt, self.asked = salt, 0

    def __call__(self, task, draw, index):
        self.asked += len(task)
        return 1 + (mix(self.salt, task, draw, index) % np.uint64(39)).astype(np.int64)[:, None]


def contents(index, row):
    window, place = index.locate(row)
    return [int(window.index[e]) for e in window.entries(place)]


@pytest.fixture
def whole(tmp_path):
    """An index whose file knows every window, with the windows' ends."""
    index = RowIndex(plan_of(), Lengths(), tmp_path / "rows.index")
    return index, [index.end(window) for window in range(WINDOWS)]


def test_rows_follow_each_other_through_the_windows(whole):
    index, ends = whole
    seen = [example for row in range(ends[-1]) for example in contents(index, row)]
    assert sorted(seen) == list(range(6000))  # twelve windows are an epoch


def test_what_is_known_is_read_and_not_computed(whole):
    index, ends = whole
    lengths = Lengths()
    again = RowIndex(plan_of(), lengths, index.path)
    assert [again.end(window) for window in range(WINDOWS)] == ends and lengths.asked == 0
    assert contents(again, ends[7] - 1) == contents(index, ends[7] - 1) and lengths.asked == 500


@pytest.mark.parametrize("fault", ["torn", "cut", "garbage", "flipped", "empty", "another plan's", "a hole"])
def test_a_damaged_file_is_noticed_and_mended(whole, fault):
    index, ends = whole
    raw = bytearray(index.path.read_bytes())
    assert len(raw) == 8 * WINDOWS
    if fault == "flipped":
        raw[8 * 5 + 1] ^= 4
    if fault == "a hole":
        raw[8 * 3 : 8 * 6] = bytes(24)
    other = RowIndex(plan_of(seed=1), Lengths(), index.path.with_name("other"))
    other.end(WINDOWS - 1)
    left = {
        "torn": raw + b"\x01\x02\x03",
        "cut": raw[:-13],
        "garbage": bytes(range(1, 97)),
        "empty": b"",
        "another plan's": other.path.read_bytes(),
    }
    index.path.write_bytes(left.get(fault, raw))
    again = RowIndex(plan_of(), Lengths(), index.path)
    assert [again.end(window) for window in range(WINDOWS)] == ends
    assert contents(again, ends[5]) == contents(index, ends[5])
    mended = Lengths()
    assert RowIndex(plan_of(), mended, index.path).end(WINDOWS - 1) == ends[-1] and mended.asked == 0


def test_windows_past_the_known_ones_are_found_from_the_last_known_one(whole):
    index, ends = whole
    index.path.write_bytes(index.path.read_bytes()[: 8 * 9])
    lengths = Lengths()
    again = RowIndex(plan_of(), lengths, index.path)
    assert contents(again, ends[9] + 1) == contents(index, ends[9] + 1)
    assert lengths.asked == 2 * 500  # windows 9 and 10


def test_a_run_goes_on_from_its_checkpoint_without_the_windows_before(whole, tmp_path):
    """Windows before the anchor are computed only if asked for; and the file that is begun anew serves later."""
    index, ends = whole
    step = (ends[8] + 3) // 4
    state = json.loads(json.dumps(index.state(step, batch_size=4)))
    assert state == {"step": step, "window": 9, "rows_before": ends[8]}
    lengths = Lengths()
    fresh = RowIndex(plan_of(), lengths, tmp_path / "new.index", anchor=(state["window"], state["rows_before"]))
    assert contents(fresh, step * 4) == contents(index, step * 4) and lengths.asked == 500
    assert contents(fresh, ends[10]) == contents(index, ends[10]) and lengths.asked == 3 * 500
    assert contents(fresh, ends[2]) == contents(index, ends[2]) and lengths.asked == 3 * 500 + 4 * 500
    assert [fresh.end(window) for window in range(WINDOWS)] == ends
    later = Lengths()
    assert RowIndex(plan_of(), later, tmp_path / "new.index").end(WINDOWS - 1) == ends[-1] and later.asked == 0


def test_a_state_is_small_and_costs_no_window(whole):
    index, ends = whole
    lengths = Lengths()
    again = RowIndex(plan_of(), lengths, index.path)
    states = [again.state(step, 4) for step in (0, 1, 10**9)]
    assert states == [
        {"step": 0, "window": 0, "rows_before": 0},
        {"step": 1, "window": 0, "rows_before": 0},
        {"step": 10**9, "window": WINDOWS, "rows_before": ends[-1]},
    ]
    assert lengths.asked == 0


def test_an_anchor_that_contradicts_the_file_wins(whole):
    index, ends = whole
    late = RowIndex(plan_of(), Lengths(), index.path)
    late.locate(ends[5] + 2)
    late.anchor(6, ends[5] + 2)
    assert contents(late, ends[5] + 2) == contents(index, ends[5])
    # Nothing of what contradicted it is left in the file.
    again = RowIndex(plan_of(), Lengths(), index.path)
    assert [again.end(w) for w in (5, 6)] == [ends[5], ends[6] + 2]


def test_an_anchor_of_other_stores_is_named(whole):
    index, ends = whole
    anchored = RowIndex(plan_of(), Lengths(), None, anchor=(6, ends[5] + 2))
    with pytest.raises(UserError, match="window 5 of the plan has .* rows, the checkpoint says .*not those that"):
        anchored.locate(ends[5] + 1)


def test_other_stores_than_the_index_knows_are_named(whole):
    index, ends = whole
    with pytest.raises(UserError, match=r"window 4 of the plan has \d+ rows, .*rows.index says \d+"):
        RowIndex(plan_of(), Lengths(salt=8), index.path).locate(ends[3])


def test_a_folder_that_cannot_be_written_costs_only_the_file(tmp_path):
    index = RowIndex(plan_of(), Lengths(), tmp_path / "no such folder" / "rows.index")
    assert index.end(2) == RowIndex(plan_of(), Lengths()).end(2)


def test_two_processes_write_one_file(tmp_path):
    """Hosts that share a run's folder write the same entries to the same places."""
    hosts = [RowIndex(plan_of(), Lengths(), tmp_path / "rows.index") for _ in range(2)]
    ends = [host.end(window) for window in range(WINDOWS) for host in hosts]
    assert ends[::2] == ends[1::2]
    read = Lengths()
    assert RowIndex(plan_of(), read, tmp_path / "rows.index").end(WINDOWS - 1) == ends[-1] and read.asked == 0


def test_a_step_far_out_is_found_as_one_close_by(tmp_path):
    """A file of 200,000 windows: finding a row asks for that one window's lengths, and no entry is touched in turn."""
    plan, count = plan_of(), 200_000
    first = RowIndex(plan, Lengths(), tmp_path / "rows.index")
    each = first.end(11) // 12
    rows = (np.arange(count) + 1) * each
    checks = first._check(np.arange(count), rows)
    (tmp_path / "rows.index").write_bytes((checks << np.uint64(48) | rows.astype(np.uint64)).astype("<u8").tobytes())
    lengths = Lengths()
    far = RowIndex(plan, lengths, tmp_path / "rows.index")
    assert far.state(1_000_000, 25) == {
        "step": 1_000_000,
        "window": 25_000_000 // each,
        "rows_before": 25_000_000 // each * each,
    }
    assert lengths.asked == 0 and far.end(count - 1) == count * each
    assert row_index._CHECK_BITS == 16


def test_rows_in_epochs_cover_the_epochs():
    index = RowIndex(plan_of(), Lengths())
    parts = [len(index.window(w)) for w in range(WINDOWS)]
    assert index.plan.boundary(WINDOWS) == 6000
    assert index.rows_in(0) == 0 and index.rows_in(1) == sum(parts)
    assert abs(index.rows_in(0.5) - sum(parts) / 2) < 100
