"""Packs lengths with TRL and Grain; runs in an environment of theirs (see engine_packing.PEERS_COMMAND).

Alone among the files here it knows nothing of flan_jax: `python engine_peers.py LENGTHS.npz` prints one JSON object
of positions that hold tokens, as a share, by name of the lengths and of the packer.
"""

import importlib.metadata
import json
import sys
import time
from typing import Any

import numpy as np


def trl_best_fit(lengths: np.ndarray, capacity: int, window: int) -> float:
    """The share of positions that TRL's best-fit-decreasing fills, its map's batches being of `window` examples."""
    import datasets
    from trl.data_utils import pack_dataset

    datasets.disable_caching()
    datasets.disable_progress_bars()
    given = datasets.Dataset.from_dict({"input_ids": [np.zeros(n, np.uint8) for n in lengths]})
    packed = pack_dataset(given, capacity, "bfd", {"batch_size": window, "keep_in_memory": True})
    assert sum(map(sum, packed["seq_lengths"])) == lengths.sum()
    return float(lengths.sum() / (len(packed) * capacity))


def grain_packer(kind: str, lengths: np.ndarray, capacities: np.ndarray, bins: int | None) -> list[float]:
    """The share of positions by budget that a packer of Grain fills."""
    import grain
    import grain.experimental as experimental

    names = [f"f{number}" for number in range(lengths.shape[1])]
    rows = [{name: np.ones(n, np.int8) for name, n in zip(names, row, strict=True)} for row in lengths]
    given = grain.MapDataset.source(rows).to_iter_dataset()
    how: dict[str, Any] = {"length_struct": dict(zip(names, capacities.tolist(), strict=True))}
    if bins is not None:
        how |= {"num_packing_bins": bins, "shuffle_bins": False}
    made = 0
    for _ in getattr(experimental, kind)(given, **how):
        made += 1
    return [float(share) for share in lengths.sum(axis=0) / (made * capacities)]


def trl_figures(lengths: np.ndarray, capacity: int, windows: list[int]) -> dict[str, Any]:
    found = {}
    for window in windows:
        started = time.perf_counter()
        fill = trl_best_fit(lengths, capacity, window)
        found[str(window)] = {"fill": fill, "seconds": time.perf_counter() - started}
    return found


def grain_figures(lengths: np.ndarray, capacities: np.ndarray, bins: list[int]) -> dict[str, Any]:
    found = {}
    jobs = [(kind, some) for kind in ("FirstFitPackIterDataset", "BestFitPackIterDataset") for some in bins]
    for kind, some in [*jobs, ("ConcatThenSplitIterDataset", None)]:
        started = time.perf_counter()
        fill = grain_packer(kind, lengths, capacities, some)
        name = kind.removesuffix("IterDataset") + (f", {some} bins" if some else " (cuts examples)")
        found[name] = {"fill": fill, "seconds": time.perf_counter() - started}
    return found


def main() -> None:
    given = np.load(sys.argv[1])
    found: dict[str, Any] = {}
    versions = {name: importlib.metadata.version(name) for name in ("trl", "grain", "torch", "datasets")}
    for name in sorted(given["names"].tolist()):
        lengths, capacities = given[f"{name}.lengths"], given[f"{name}.capacities"]
        here: dict[str, Any] = {"grain": grain_figures(lengths, capacities, given["bins"].tolist())}
        if len(capacities) == 1:
            here["trl"] = trl_figures(lengths[:, 0], int(capacities[0]), [*given["windows"].tolist(), len(lengths)])
        found[name] = here
    print("@measured " + json.dumps({"name": "peers", "versions": versions, "fill": found}), flush=True)


if __name__ == "__main__":
    main()
