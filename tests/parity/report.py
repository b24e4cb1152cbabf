"""The parity table: how far every family is from transformers.

    python -m tests.parity.report [FAMILY …]

Run it in the environment of tests/parity/run.sh. Errors are relative to the largest value of each array (of each
parameter's gradient, of each step's loss); greedy and beam count tokens that differ, the round trip tensors.
"""

import os
import pathlib
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from flan_jax.models.hugging_face import read_folder
from tests.models import measured
from tests.parity import families, peer

COLUMNS = ("padded", "packed", "loss", "gradient", "adamw", "round trip", "greedy", "beam", "scores")


def compared(name: str, work: pathlib.Path) -> dict[str, float]:
    """The differences of one family, its folder made anew."""
    families.save(name, work / name)
    folder = read_folder(work / name)
    theirs, eos_id = peer.measure(folder.path, folder.model)
    found = measured.differences(measured.Ours(folder, quick=False).figures(eos_id), theirs)
    return found | {"round trip": len(measured.changed_by_a_round_trip(folder, work / f"{name}-back"))}


def main() -> None:
    """Prints the table."""
    names = sys.argv[1:] or list(families.FAMILIES)
    print(f"{'':9s}" + "".join(f"{column:>11s}" for column in COLUMNS), flush=True)
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            found = compared(name, pathlib.Path(work))
            cells = (
                f"{found[column]:11.1e}" if isinstance(found[column], float) else f"{found[column]:11d}"
                for column in COLUMNS
            )
            print(f"{name:9s}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
