"""Small stores for tests."""

import dataclasses

import numpy as np

from flan_jax.data.stores import store as stores
from flan_jax.data.stores.parts import PartWriter


@dataclasses.dataclass
class Written:
    """An example, with the fields that a store keeps."""

    id: str
    inputs: list
    targets: list
    weights: np.ndarray | None = None
    template: int = 0
    options: list | None = None
    answer: int | None = None


EXAMPLES = [
    Written("a:1", [5, 6, 7], [8, 1], template=3),
    Written("ü", [], [9, 9, 1], np.array([0, 0.5, 1], np.float32), template=-1),
    Written("a:3", [400], [8, 1], options=[np.array([8, 1]), np.array([65535, 2, 1])], answer=1),
]


def write_store(folder, examples, vocab_size=70_000, rows=stores.PART_ROWS):
    """Writes a store with `rows` examples a part."""
    folder.mkdir(parents=True)
    found = []
    for number, start in enumerate(range(0, max(1, len(examples)), rows)):
        writer = PartWriter(vocab_size)
        for example in examples[start : start + rows]:
            writer.add(example)
        found.append(writer.write(stores.part_path(folder, number), {"read": writer.count}))
    return stores.write_manifest(folder, found, {"task": "t"})
