"""Goal 3: how full rows get, beside lower bounds, TRL's best-fit-decreasing and Grain's packers, on the same lengths.

Four sets of lengths: real prompts and 50,000 log-normal ones (mean 394), each in rows of 2,048 tokens (decoder-only)
and of 1,024 + 256 (encoder-decoder).
"""

import math
import pathlib
import time
from typing import Any

import engine_data
import engine_process
import numpy as np

CAPACITIES = {"decoder": [2048], "encoder_decoder": [1024, 256]}
WINDOWS = [1000, 8192]  # TRL's default, and one of ours
BINS = [32, 1024]
PEERS_COMMAND = "python -m venv {folder}/peers && {folder}/peers/bin/pip install torch==2.13.0 trl datasets grain"
# What the issue asks.
LEAST_FILL, MOST_OVER_SUM, MOST_OVER_STRONGER, MOST_UNDER_TRL = 0.98, 0.04, 0.02, 0.001


def log_normal(count: int, mean: float, most: int, seed: int, sigma: float = 1.0) -> np.ndarray:
    """Log-normal lengths from 1 to `most`, whose mean after the cut is `mean`."""
    shape = np.exp(np.random.default_rng(seed).normal(0.0, sigma, count))
    scale = mean / shape.mean()
    for _ in range(30):
        lengths = np.clip(np.round(shape * scale), 1, most)
        scale *= mean / lengths.mean()
    return lengths.astype(np.int64)


def measure_lengths(data: str, vocabulary: str, output: str, most: int) -> None:
    """In a child: tokens of real prompts and of answers with their EOS."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=vocabulary)
    rows = engine_data.real_rows(pathlib.Path(data))[:most]
    inputs = [len(ids) for ids in model.encode([prompt for prompt, _ in rows])]
    targets = [len(ids) + 1 for ids in model.encode([answer for _, answer in rows])]
    np.save(output, np.array([inputs, targets], np.int64).T)


def cases(real: np.ndarray, count: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Name → lengths [N, budgets] and capacities."""
    row, pair = (np.array(CAPACITIES[name]) for name in ("decoder", "encoder_decoder"))
    joined = np.minimum(real[:, 0], 2048 - 256) + np.minimum(real[:, 1], 256)
    # Both budgets are as scarce as each other: the hardest case.
    apart = [log_normal(count, 1024 / 5, 1024, 2), log_normal(count, 256 / 5, 256, 3)]
    return {
        "real, decoder": (joined[:, None], row),
        "real, encoder_decoder": (np.minimum(real, pair), pair),
        "log-normal, decoder": (log_normal(count, 394, 2048, 1)[:, None], row),
        "log-normal, encoder_decoder": (np.stack(apart, axis=1), pair),
    }


def sum_bound(lengths: np.ndarray, capacities: np.ndarray) -> int:
    """Rows that the tokens of the scarcest budget fill."""
    return int(max(math.ceil(n / c) for n, c in zip(lengths.sum(axis=0), capacities, strict=True)))


def lonely(lengths: np.ndarray, capacities: np.ndarray) -> np.ndarray:
    """Which examples share a row with no other example at all, bool [N]: exact."""
    if lengths.shape[1] == 1:
        return lengths[:, 0] + lengths.min() > capacities[0]
    order = np.argsort(lengths[:, 1], kind="stable")
    fewest = np.minimum.accumulate(lengths[order, 0])  # inputs of any example with so many targets or fewer
    fits = np.searchsorted(lengths[order, 1], capacities[1] - lengths[:, 1], side="right")
    partner = np.where(fits > 0, fewest[np.maximum(fits - 1, 0)], capacities[0] + 1)
    return lengths[:, 0] + partner > capacities[0]


def stronger_bound(lengths: np.ndarray, capacities: np.ndarray) -> int:
    """Rows that are needed: one for each example that can share with no other, and the L2 bound of what is left.

    Examples that fit beside none of the others have a row each, and leave a smaller set, in which others may be alone.
    """
    alone = 0
    while len(lengths) and (single := lonely(lengths, capacities)).any():
        alone += int(single.sum())
        lengths = lengths[~single]
    return alone + max((_l2(lengths, capacities, f) for f in range(len(capacities)) if len(lengths)), default=0)


def _l2(lengths: np.ndarray, capacities: np.ndarray, f: int) -> int:
    """Martello and Toth's L2 (Knapsack Problems, 1990) on budget f, the other budget's tokens counted as well.

    For a threshold a up to half a row C: examples over C - a have a row each that nothing of a or more enters. The
    others of a or more are in other rows: as many as are over C / 2, and as many as hold their tokens.
    """
    order = np.argsort(lengths[:, f], kind="stable")
    sizes, capacity = lengths[order, f], int(capacities[f])
    sums = np.concatenate([np.zeros((1, len(capacities)), np.int64), np.cumsum(lengths[order], axis=0)])
    half = int(np.searchsorted(sizes, capacity // 2, side="right"))
    a = np.unique(np.concatenate([[0], sizes[:half]]))
    over = np.searchsorted(sizes, capacity - a, side="right")
    start = np.searchsorted(sizes, a, side="left")
    between = -(-(sums[over] - sums[start]) // capacities)
    return int((len(sizes) - over + np.maximum(over - half, between.max(axis=1))).max())


def ours(lengths: np.ndarray, capacities: np.ndarray, window: int) -> dict[str, Any]:
    """Our packer, window by window, and the bounds of the same windows."""
    from flan_jax.data.planning.packing import pack

    pack(lengths[:16], capacities)  # compiled before the clock starts
    made = sums = stronger = 0
    seconds = 0.0
    for start in range(0, len(lengths), window):
        here = lengths[start : start + window]
        started = time.perf_counter()
        rows = pack(here, capacities)
        seconds += time.perf_counter() - started
        assert all((np.bincount(rows, here[:, f]) <= c).all() for f, c in enumerate(capacities))
        made += int(rows.max()) + 1
        sums += sum_bound(here, capacities)
        stronger += stronger_bound(here, capacities)
    return {
        "fill": (lengths.sum(axis=0) / (made * capacities)).tolist(),
        "rows": made,
        "over_sum_bound": made / sums - 1,
        "over_stronger_bound": made / stronger - 1,
        "examples_per_second": len(lengths) / seconds,
    }


def planned(lengths: np.ndarray, capacities: np.ndarray) -> dict[str, Any]:
    """Rows as a run gets them: one epoch through `Plan`, in the windows that it chooses."""
    from flan_jax.data.planning.plan import Plan, PlannedTask

    names = {f"budget {f}": int(c) for f, c in enumerate(capacities)}
    plan = Plan([PlannedTask("all", len(lengths), 2**40, "")], names, seed=0)
    lengths_of = lambda task, draw, index: lengths[index]
    plan.rows(0, lengths_of)
    made, windows, sums, stronger, started = 0, round(plan.windows_of(1)), 0, 0, time.perf_counter()
    for window in range(windows):
        made += len(plan.rows(window, lengths_of))
    seconds = time.perf_counter() - started
    for window in range(windows):
        here = lengths[plan.examples(window)[1]]
        sums += sum_bound(here, capacities)
        stronger += stronger_bound(here, capacities)
    return {
        "window": round(len(lengths) / windows),
        "fill": (lengths.sum(axis=0) / (made * capacities)).tolist(),
        "rows": made,
        "over_sum_bound": made / sums - 1,
        "over_stronger_bound": made / stronger - 1,
        "examples_per_second": len(lengths) / seconds,
    }


def measure_ours(folder: str, count: int) -> None:
    """In a child: our figures of every case; leaves the lengths for the peers."""
    given = cases(np.load(f"{folder}/real_lengths.npy"), count)
    found, kept = {}, {"names": np.array(list(given)), "bins": np.array(BINS), "windows": np.array(WINDOWS)}
    for name, (lengths, capacities) in given.items():
        lengths = np.random.default_rng(0).permutation(lengths)
        kept[f"{name}.lengths"], kept[f"{name}.capacities"] = lengths, capacities
        windows = {str(window): ours(lengths, capacities, window) for window in [*WINDOWS, len(lengths)]}
        found[name] = {"examples": len(lengths), "windows": windows, "plan": planned(lengths, capacities)}
    np.savez(f"{folder}/lengths.npz", **kept)
    engine_process.tell("ours", **found)


def measure(work: pathlib.Path, data: pathlib.Path, vocabulary: str, count: int, most_real: int) -> dict[str, Any]:
    """The figures of goal 3.

    Args:
      work: the work folder; TRL and Grain are looked for in its `peers`.
      data: the folder of real data.
      vocabulary: that of the tasks.
      count: how many log-normal lengths.
      most_real: how many real ones at most.
    """
    real = work / f"real_lengths_{pathlib.Path(vocabulary).name}_{most_real}.npy"
    if not real.exists():
        how = {"data": str(data), "vocabulary": vocabulary, "output": str(real), "most": most_real}
        engine_process.run(["engine_packing.py", "lengths", engine_process.json.dumps(how)])
    (work / "real_lengths.npy").unlink(missing_ok=True)
    (work / "real_lengths.npy").symlink_to(real.name)
    engine_process.say("packing, ours")
    how = {"folder": str(work), "count": count}
    found = {"ours": engine_process.run(["engine_packing.py", "ours", engine_process.json.dumps(how)]).told["ours"]}
    python = work / "peers" / "bin" / "python"
    if python.exists():
        engine_process.say("packing, TRL and Grain")
        done = engine_process.run(["engine_peers.py", str(work / "lengths.npz")], peers=str(python))
        found |= {"peers": done.told["peers"]["fill"], "versions": done.told["peers"]["versions"]}
    else:
        found["not_measured"] = "TRL and Grain: make their environment with " + PEERS_COMMAND.format(folder="WORK")
    return {**found, "goal": judge(found)}


def judge(found: dict[str, Any]) -> dict[str, Any]:
    """Whether goal 3 is reached, and each part of it."""
    ours, peers = found["ours"], found.get("peers")
    decoders = [name for name in ours if name.endswith(", decoder")]
    pairs = [name for name in ours if name not in decoders]
    fill = min(ours[name]["plan"]["fill"][0] for name in decoders)
    over = {name: (ours[name]["plan"]["over_sum_bound"], ours[name]["plan"]["over_stronger_bound"]) for name in pairs}
    parts: dict[str, Any] = {
        "decoder_fill": fill,
        "decoder_fill_reached": fill >= LEAST_FILL,
        "encoder_decoder_over_bounds": over,
        "encoder_decoder_reached": all(a <= MOST_OVER_SUM or b <= MOST_OVER_STRONGER for a, b in over.values()),
        "under_trl": None,
        "above_grain": None,
    }
    if peers:
        gaps = {
            f"{name}, {window}": peers[name]["trl"][window]["fill"] - ours[name]["windows"][window]["fill"][0]
            for name in decoders
            for window in peers[name]["trl"]
        }
        above = {}
        for name in ours:
            whole = {k: v["fill"][0] for k, v in peers[name]["grain"].items() if "cuts" not in k}
            above[name] = ours[name]["plan"]["fill"][0] - max(whole.values())
        parts |= {"under_trl": gaps, "trl_reached": max(gaps.values()) <= MOST_UNDER_TRL}
        parts |= {"above_grain": above, "grain_reached": min(above.values()) > 0}
    reached = all(parts.get(f"{p}_reached", False) for p in ("decoder_fill", "encoder_decoder", "trl", "grain"))
    return {"reached": reached, "figures": parts}


if __name__ == "__main__":
    engine_process.answer({"lengths": measure_lengths, "ours": measure_ours})
