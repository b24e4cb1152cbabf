"""The benchmark runs and says what is true whatever the machine; how fast it is, no test asserts."""

import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

HERE = pathlib.Path(__file__).parent


@pytest.fixture
def packing(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    import engine_packing

    return engine_packing


def run(work: pathlib.Path, data: pathlib.Path, *argv: str) -> dict:
    command = [sys.executable, str(HERE / "data_engine.py"), "--json", "--quick", "--work", str(work)]
    done = subprocess.run([*command, "--data", str(data), *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_packs_real_and_made_up_lengths_and_simulates_a_pod(real_data, tmp_path):
    found = run(tmp_path, real_data, "--only", "packing", "scale", "--no_seqio", "--tasks", "2", "3")
    assert found["reached"] is False and found["goals"] == {"packing": False}  # TRL and Grain are not there
    assert "pip install" in found["packing"]["not_measured"]
    ours = found["packing"]["ours"]
    assert len(ours) == 4 and sum(name.endswith(", decoder") for name in ours) == 2
    for name, here in ours.items():
        for figures in (here["plan"], *here["windows"].values()):
            assert 0 <= figures["over_stronger_bound"] <= figures["over_sum_bound"]
            assert all(0 < share <= 1 for share in figures["fill"])
        assert here["examples"] == 3000 and here["plan"]["window"] <= 8192
        if name.endswith(", decoder"):
            assert here["plan"]["fill"][0] >= 0.98
    scale = found["scale"]
    assert scale["stores"] == 10_000 and scale["hosts"] == 1024
    assert scale["steady"]["steps"] > 0 and scale["steady"]["tokens_per_step"] == 1024 * 8 * 2048


def least_rows(lengths: np.ndarray, capacities: np.ndarray) -> int:
    """By trying every way."""
    best = len(lengths)
    for rows in itertools.product(*(range(number + 1) for number in range(len(lengths)))):
        made = max(rows) + 1
        if made < best:
            held = np.zeros((made, len(capacities)), np.int64)
            np.add.at(held, list(rows), lengths)
            best = made if (held <= capacities).all() else best
    return best


def test_no_packing_goes_below_the_bounds(packing):
    random, tight = np.random.default_rng(0), 0
    for _ in range(60):
        capacities = np.array([12, 7])[: random.integers(1, 3)]
        lengths = np.stack([random.integers(1, c + 1, random.integers(5, 6)) for c in capacities], axis=1)
        least, bound = least_rows(lengths, capacities), packing.stronger_bound(lengths, capacities)
        assert packing.sum_bound(lengths, capacities) <= bound <= least
        tight += bound == least
    assert tight > 40


def test_made_up_lengths_have_the_mean_they_are_given(packing):
    lengths = packing.log_normal(5000, 394, 2048, seed=1)
    assert lengths.mean() == pytest.approx(394, rel=0.01)
    assert lengths.min() >= 1 and lengths.max() == 2048 and len(set(lengths.tolist())) > 500


@pytest.mark.slow
def test_every_part_runs_beside_seqio(real_data, tmp_path):
    found = run(tmp_path, real_data, "--tasks", "2", "3", "4")
    assert set(found["goals"]) == {"startup", "steady", "packing", "prepare", "restore"}
    assert found["reached"] is False  # of sizes as small as these no goal is said to be reached
    startup = found["startup"]
    assert all(not one["tensorflow"] and not one["data_process"] for one in startup["ours"].values())
    assert set(startup["unprepared"]) == {"2", "3"} and all(
        one["child_mb"] > 0 for one in startup["unprepared"].values()
    )
    assert set(startup["ours"]) == {"2", "4"} and all(one["seconds"] > 0 for one in startup["seqio"].values())
    steady = found["steady"]
    assert {name for name in steady if name != "goal"} == {
        f"{architecture}, {tasks}" for architecture in ("decoder", "encoder_decoder") for tasks in (2, 3)
    }
    for name, here in steady.items():
        if name != "goal":
            # Both read the same rows: as full, or ours fuller.
            assert here["ratio"] > 0 and here["ours"]["full"] >= here["seqio"]["full"] - 0.05
    assert set(found["prepare"]["sides"]) == {"instruction", "foreign", "seqio"}
    assert found["prepare"]["examples"] == 40 and len(found["prepare"]["memory"]) == 2
    restore = found["restore"]
    assert set(restore["state_alone"]) == {"1", "40"} and 0 < restore["state_bytes"] < 1000
