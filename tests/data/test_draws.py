"""Draws that are prepared late give the batches of those prepared at once."""

import pathlib
import time

import numpy as np
import pytest

from flan_jax.data.draws import Draws
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.request import Request
from flan_jax.data.resolve import resolve
from flan_jax.data.rows import RowShape
from flan_jax.data.stores.store import whole
from flan_jax.errors import UserError

SHAPE = RowShape("encoder_decoder", 128, 32)
STEPS = 24


class Run:
    """A mixture of one random task and one that is not, in a store folder of its own."""

    def __init__(self, store_dir, worker):
        request = Request("ours", "train", {"inputs": 64, "targets": 16}, 0, str(store_dir))
        self.resolved = resolve(request, worker)
        self.plan = self.resolved.plan(SHAPE.capacities, True, 64)
        self.draws = Draws(self.resolved, self.plan, worker)
        reader = Reader(self.resolved.folders(self.plan), SHAPE)
        self.index = RowIndex(self.plan, self.draws.wait_for(reader.lengths))
        self.loader = Loader(self.plan, reader, 8, index=self.index, threads=2)

    def stores(self):
        """Which draws of the random task stand there."""
        folder = pathlib.Path(next(task.folder for task in self.resolved.tasks if task.name == "capitals"))
        return sorted(int(path.name[5:]) for path in folder.glob("draw-*") if path.is_dir() and whole(path))

    def batches(self):
        return [batch for _, batch in self.loader.from_step(0, STEPS)]


@pytest.fixture
def at_once(tmp_path, worker):
    """The batches from stores that were prepared in full before the first one."""
    run = Run(tmp_path / "at_once", worker)
    run.draws.prepare(run.draws.reached(200))
    assert run.stores() == list(range(8))
    return run.batches()


def same(ours, theirs):
    return len(ours) == STEPS and all(
        np.array_equal(a[name], b[name]) for a, b in zip(ours, theirs, strict=True) for name in a
    )


def test_draws_prepared_as_they_are_met(tmp_path, worker, at_once):
    run = Run(tmp_path / "met", worker)
    assert run.stores() == [0]
    run.loader.batch(0)
    first = run.stores()
    assert len(first) < 8  # only those that the first window reaches
    assert same(run.batches(), at_once)
    assert len(run.stores()) > len(first)


def test_draws_prepared_in_the_background(tmp_path, worker, at_once):
    run = Run(tmp_path / "ahead", worker)
    run.draws.start(200)
    deadline = time.monotonic() + 60
    while run.stores() != list(range(8)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert run.stores() == list(range(8))  # without anyone asking for them
    assert same(run.batches(), at_once)


def test_the_first_wanted_come_first(tmp_path, worker):
    run = Run(tmp_path, worker)
    reached = run.draws.reached(200)
    assert [draw for _, draw in reached] == sorted(draw for _, draw in reached) == list(range(1, 8))


def test_what_fails_in_the_background_is_told_where_it_is_needed(tmp_path, worker):
    run = Run(tmp_path, worker)
    folder = next(task.folder for task in run.resolved.tasks if task.name == "capitals")
    (pathlib.Path(folder) / "draw-1").write_text("a file where a folder should be")
    run.draws.start(200)
    with pytest.raises(UserError, match="cannot be written"):
        run.batches()
