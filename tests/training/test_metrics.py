import contextlib
import json
import math
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from flan_jax.errors import UserError
from flan_jax.training.metrics import MetricsWriter, read_metrics


def events(folder):
    """What is in the TensorBoard files: (tag, step, value), and the starts. Read by the framing of TFRecord."""
    read, starts = [], []
    for path in sorted(folder.glob("tensorboard/events*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = event_pb2.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            read += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
            if event.HasField("session_log"):
                starts.append(event.step)
    return read, starts


def test_float32_reads_back_bit_for_bit(tmp_path):
    draw = np.random.default_rng(0)
    values = draw.integers(0, 2**32, 4000, np.uint32).view(np.float32)
    values = np.concatenate([values, np.float32([0.1, 1 / 3, -0.0, 1e-45, 3.4e38, 16777217])])
    writer = MetricsWriter(tmp_path, 0)
    writer.write(1, {"all": values})
    writer.write(2, {"loss": jnp.float32(0.1), "steps": jnp.int32(3), "seconds": 0.1, "note": "x", "done": True})
    writer.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    back = np.float32(rows[0]["all"])
    numbers = ~np.isnan(values)
    assert numbers.sum() > 3000
    assert back[numbers].tobytes() == values[numbers].tobytes()
    assert np.isnan(back[~numbers]).all()
    assert rows[1] == {"step": 2, "loss": 0.1, "steps": 3, "seconds": 0.1, "note": "x", "done": True}


def test_nan_is_null_and_the_file_is_json(tmp_path):
    writer = MetricsWriter(tmp_path, 0)
    writer.write(1, {"loss": np.float32("nan"), "tasks": {"a": math.nan, "b": np.float32("inf"), "c": -math.inf}})
    writer.close()

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=refuse)
    assert row == {"step": 1, "loss": None, "tasks": {"a": None, "b": "Infinity", "c": "-Infinity"}}
    (back,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(back["loss"]) and back["tasks"]["b"] == math.inf and back["tasks"]["c"] == -math.inf


def test_a_resume_cuts_to_the_restored_step_and_every_step_is_there_once(tmp_path):
    first = MetricsWriter(tmp_path, 0)
    for step in range(1, 8):
        first.write(step, {"loss": np.float32(step)})
    first.sync()
    kept = (tmp_path / "metrics.jsonl").read_bytes().split(b"\n")[:4]
    first.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')
    again = MetricsWriter(tmp_path, 4)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"\n".join(kept) + b"\n"
    for step in range(5, 9):
        again.write(step, {"loss": np.float32(step + 100)})
    again.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(s, s if s <= 4 else s + 100) for s in range(1, 9)]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["metrics.jsonl"]
    MetricsWriter(tmp_path, 0).close()
    assert read_metrics(tmp_path / "metrics.jsonl") == []


@pytest.mark.parametrize(
    "torn", ['{"step": 3, "loss": 1', '{"step": 3, "loss": 1\n', "\0\0\0\0\n", '{"step": 3, "loss": 1.0}']
)
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n' + torn)
    MetricsWriter(tmp_path, 9).close()
    assert path.read_text() == '{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.25}\n'


@pytest.mark.parametrize("line", ["nonsense", "[" * 100_000, "5", '{"step": "1"}'])
def test_a_bad_line_in_the_middle_is_told(tmp_path, line):
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl:2 is not a row of metrics .* delete the line"):
        MetricsWriter(tmp_path, 9)


def test_a_folder_in_place_of_the_figures_is_told(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    for read in (lambda: MetricsWriter(tmp_path, 9), lambda: read_metrics(tmp_path / "metrics.jsonl")):
        with pytest.raises(UserError, match=r"metrics.jsonl is a folder, .* move it away"):
            read()


def test_a_step_is_written_once(tmp_path):
    writer = MetricsWriter(tmp_path, 3)
    for step in (3, 2):
        with pytest.raises(ValueError, match=f"step {step} comes after that of step 3"):
            writer.write(step, {})
    writer.write(5, {})
    with pytest.raises(ValueError, match="each step is written once"):
        writer.write(5, {})
    writer.close()


def test_sync_leaves_the_rows_readable_while_the_file_is_open(tmp_path):
    writer = MetricsWriter(tmp_path, 0)
    writer.write(1, {"loss": 1.0})
    writer.sync()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0}]
    assert events(tmp_path)[0] == [("loss", 1, 1.0)]
    writer.close()
    writer.close()


def test_tensorboard_reads_the_same_figures_and_where_a_resume_starts(tmp_path):
    first = MetricsWriter(tmp_path, 0)
    first.write(1, {"loss": np.float32(0.1), "tasks": {"a": 1.5}, "note": "x"})
    first.write(2, {"loss": np.float32(0.2)})
    first.close()
    # In the same second: the second start must not write over the first one's file.
    second = MetricsWriter(tmp_path, 1)
    second.write(2, {"loss": np.float32(0.3)})
    second.close()
    read, starts = events(tmp_path)
    assert read == [
        ("loss", 1, pytest.approx(0.1)),
        ("tasks/a", 1, 1.5),
        ("loss", 2, pytest.approx(0.2)),
        ("loss", 2, pytest.approx(0.3)),
    ]
    assert starts == [1, 2]


def test_a_second_writer_has_its_own_file(tmp_path):
    writers = MetricsWriter(tmp_path, 0), MetricsWriter(tmp_path, 0, name="evals")
    for writer, value in zip(writers, (1.0, 2.0), strict=True):
        writer.write(10, {"x": value})
        writer.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 10, "x": 1.0}]
    assert read_metrics(tmp_path / "evals.jsonl") == [{"step": 10, "x": 2.0}]
    assert sorted(events(tmp_path)[0]) == [("x", 10, 1.0), ("x", 10, 2.0)]


def test_scores_follow_the_row_of_their_step_and_stand_there_once(tmp_path):
    """Whatever a kill leaves: the row of a step without its scores, or with scores that nobody knows of."""
    with contextlib.closing(MetricsWriter(tmp_path, 0)) as writer:
        writer.write_scores(0, {"mean": 10.0})
        for step in (1, 2, 3):
            writer.write(step, {"loss": 1.0 / step})
            if step == 2:
                writer.write_scores(2, {"mean": 20.0, "by_task": {"a": {"f1": math.nan}}})
                writer.write_scores(2, {"mean": 20.0})
        with pytest.raises(ValueError, match="scores of step 2 come after the row of step 3"):
            writer.write_scores(2, {"mean": 20.0})
    told = lambda: [(row["step"], row.get("scores", {}).get("mean")) for row in read_metrics(writer.path)]
    whole = [(0, 10.0), (1, None), (2, None), (2, 20.0), (3, None)]
    assert told() == whole
    for restored, left in ((3, whole), (2, whole[:4]), (1, whole[:2])):
        with contextlib.closing(MetricsWriter(tmp_path, restored)) as writer:
            assert told() == left
            writer.write_scores(restored, {"mean": 99.0})
        # Scored already at 2, and not at 3 and 1.
        assert told() == left + [(restored, 99.0)] * (restored != 2)
    with contextlib.closing(MetricsWriter(tmp_path, 0)) as writer:
        writer.write_scores(0, {"mean": 99.0})
        assert told() == whole[:1]
