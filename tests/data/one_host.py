"""One host of a run, as a process of its own: prints a digest of each of its rows, a line a step.

python -m tests.data.one_host FOLDER FIRST_ROW LAST_ROW THREADS START STOP
"""

import hashlib
import json
import pathlib
import sys

from flan_jax.data.loader import Loader, Reader
from flan_jax.data.planning.plan import Plan
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.rows import RowShape


def digests(batch):
    """A digest of each row of a batch."""
    names = sorted(batch)
    rows = range(len(batch[names[0]]))
    return [hashlib.sha256(b"".join(batch[name][b].tobytes() for name in names)).hexdigest()[:16] for b in rows]


def loader_of(folder, **options):
    """The loader of what `folder/run.json` describes; the index of rows is the folder's."""
    kept = json.loads((folder / "run.json").read_text())
    plan, reader = Plan.from_description(kept["plan"]), Reader(kept["folders"], RowShape(*kept["shape"]))
    index = RowIndex(plan, reader.lengths, folder / "rows.index")
    return Loader(plan, reader, kept["batch_size"], index=index, **options)


def main():
    """Prints each step as soon as it is loaded."""
    folder, (first, last, threads, start, stop) = pathlib.Path(sys.argv[1]), map(int, sys.argv[2:])
    options = {"local_rows": range(first, last), "threads": threads, "prefetch": 2 * threads}
    for step, batch in loader_of(folder, **options).from_step(start, stop):
        print(json.dumps([step, digests(batch)]), flush=True)


if __name__ == "__main__":
    main()
