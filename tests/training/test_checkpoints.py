import errno
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.checkpoints import Checkpoints
from flan_jax.training.optimizer import OptimizerConfig, make_optimizer
from flan_jax.training.state import abstract_state, create_state


@pytest.fixture(scope="module")
def saved(tiny):
    """A state whose every leaf is filled with its own random bits, and its shapes."""
    mesh, params = make_mesh(), tiny.make()[1]
    tx = make_optimizer(OptimizerConfig(), 10, params)
    state = create_state(params, tx, mesh)
    leaves, tree = jax.tree.flatten(state)
    draw = np.random.default_rng(0)
    leaves = [jnp.asarray(draw.integers(1, 2**30, leaf.shape, np.int32)).view(leaf.dtype) for leaf in leaves]
    return jax.tree.unflatten(tree, leaves), abstract_state(params, tx, mesh)


@pytest.fixture
def open_in(tmp_path):
    """Opens checkpoints in a folder of the test; closes them all at its end."""
    opened = []

    def make(**settings):
        opened.append(Checkpoints(tmp_path / "checkpoints", **settings))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def same_bits(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_state_comes_back_bit_for_bit_with_its_extra(open_in, saved):
    state, shapes = saved
    extra = {"plan": "a1", "stage": {"window": 3, "rows": [1, 2]}}
    checkpoints = open_in()
    checkpoints.save(7, state, extra)
    checkpoints.close()
    again = open_in()
    assert again.latest() == 7
    restored, read = again.restore(7, shapes)
    same_bits(restored, state)
    assert read == again._read(7, {})[1] == extra
    same_bits(again.restore_params(7, shapes["params"]), state["params"])


def test_no_checkpoint_is_none(open_in, tmp_path, saved):
    assert open_in().latest() is None and open_in(best_metric="score").best() is None
    absent = Checkpoints(tmp_path / "absent", read_only=True)
    assert absent.latest() is None and absent.steps() == []
    assert not (tmp_path / "absent").exists()
    with pytest.raises(UserError, match="no checkpoint of step 3 in .*checkpoints; the steps there are: none"):
        open_in().restore(3, saved[1])


def test_saving_goes_on_in_the_background_while_the_state_is_donated_to_the_next_step(open_in):
    def draw():
        return jax.random.normal(jax.random.key(0), (1 << 22,))

    state = {"params": {"w": draw()}, "opt": {}, "step": jnp.int32(1)}
    step = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    checkpoints = open_in()
    checkpoints.save(1, state, {})
    assert not (checkpoints.folder / "1").exists(), "save should return before the step is committed"
    for _ in range(5):
        state = step(state)
    jax.block_until_ready(state)
    checkpoints.wait()
    assert checkpoints.latest() == 1
    back = checkpoints.restore_params(1, {"w": jax.ShapeDtypeStruct((1 << 22,), jnp.float32)})
    np.testing.assert_array_equal(back["w"], draw())
    np.testing.assert_allclose(state["params"]["w"], draw() + 5, rtol=1e-5)


def test_the_newest_and_the_best_are_kept(open_in, saved):
    checkpoints = open_in(keep=2, keep_best=1, best_metric="score")
    for step, score in enumerate([0.1, 0.9, float("nan"), 0.5, 0.4, 0.3], 1):
        checkpoints.save(step, saved[0], {"step": step})
        checkpoints.rank(step, {"score": score, "other": 1.0})  # while it is still being written
    checkpoints.wait()
    assert checkpoints.steps() == [2, 5, 6]
    assert (checkpoints.latest(), checkpoints.best()) == (6, 2)
    checkpoints.close()
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["2", "5", "6"]
    assert open_in(best_metric="score", read_only=True).best() == 2
    lowest = open_in(keep=1, best_metric="score", best_mode="min")
    assert lowest.best() == 6
    lowest.save(7, saved[0], {})
    lowest.wait()
    assert lowest.steps() == [6, 7], "a step without the metric is never the best"
    lowest.rank(7, {"score": -1.0})
    lowest.wait()
    assert lowest.steps() == [7], "what was the best until then has no place any more"
    assert lowest.latest() == 7, "the metrics are no damage"


def test_the_best_is_found_in_folders_whose_metrics_orbax_kept(open_in, saved):
    """As runs had them before steps were scored after they were saved."""
    checkpoints = open_in()
    for step in (1, 2):
        checkpoints.save(step, saved[0], {})
        checkpoints.wait()
        (checkpoints.folder / str(step) / "metrics").mkdir()
        (checkpoints.folder / str(step) / "metrics/metrics").write_text(f'{{"score": {3 - step}.0}}')
    checkpoints.close()
    assert open_in(best_metric="score").best() == 1


def test_metrics_that_are_none_leave_the_step_without(open_in, saved, tmp_path):
    checkpoints = open_in(best_metric="score")
    for step in (1, 2):
        checkpoints.save(step, saved[0], {})
        checkpoints.rank(step, {"score": step})
    checkpoints.close()
    assert open_in(best_metric="score").best() == 2
    for text in ("5", '"x"', "[1]", '{"score": "x"}', '{"score": []}', '{"score": NaN}', "[" * 100_000):
        (tmp_path / "checkpoints/2/metrics.json").write_text(text)
        assert open_in(best_metric="score").best() == 1
    assert open_in(best_metric="score").latest() == 2


def test_dates_that_orbax_cannot_read_are_told_with_their_file(open_in, saved, tmp_path):
    checkpoints = open_in()
    checkpoints.save(1, saved[0], {"step": 1})
    checkpoints.close()
    dates = tmp_path / "checkpoints/1/_CHECKPOINT_METADATA"
    for text in ("[]", '{"custom_metadata": 5}', '{"init_timestamp_nsecs": "x"}'):
        dates.write_text(text)
        for read_only in (False, True):
            with pytest.raises(UserError, match=rf"{dates} is damaged \(.*\); delete it"):
                open_in(read_only=read_only).latest()
    dates.unlink()
    assert open_in().latest() == 1 and open_in()._read(1, {})[1] == {"step": 1}


def test_settings_are_checked(open_in):
    with pytest.raises(UserError, match="keep at least 1"):
        open_in(keep=0)


def test_another_models_checkpoint_is_told_by_leaf_and_shape(open_in, saved, tiny):
    checkpoints = open_in()
    checkpoints.save(1, saved[0], {})
    checkpoints.wait()
    mesh, plain = make_mesh(), OptimizerConfig()

    def shapes(config=plain, **sizes):
        params = jax.eval_shape(lambda: tiny.init(**sizes))
        return abstract_state(params, make_optimizer(config, 10, params), mesh)

    with pytest.raises(UserError) as error:
        checkpoints.restore(1, shapes(hidden=24))
    assert "params/stack/up is float32[2, 8, 16] in the checkpoint and float32[2, 8, 24] in this run" in str(
        error.value
    )
    assert "; and 1 more. Give the settings it was made with" in str(error.value)
    with pytest.raises(UserError, match=r"optimizer/opt/1/mu/embed float32\[32, 8\] is in the checkpoint alone"):
        checkpoints.restore(1, shapes(OptimizerConfig(name="adafactor")))
    with pytest.raises(UserError, match=r"layers_3/inner_state/0/count int32\[3\] is in this run alone"):
        checkpoints.restore(1, shapes(OptimizerConfig(name="adafactor"), layers=3))
    with pytest.raises(UserError, match=r"params/embed is float32\[32, 8\] in the checkpoint and float32\[32, 4\]"):
        checkpoints.restore_params(1, shapes(dim=4)["params"])
    narrow = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), saved[1]["params"])
    with pytest.raises(UserError, match=r"params/embed is float32\[32, 8\] .* bfloat16\[32, 8\] in this run"):
        checkpoints.restore_params(1, narrow)
    assert checkpoints.restore(1, saved[1])[1] == {}


def test_a_mean_of_the_parameters_is_kept_beside_them(open_in, saved):
    state, shapes = saved
    wide = {**state, "averages": jax.tree.map(lambda leaf: leaf + 1.0, state["params"])}
    checkpoints = open_in()
    checkpoints.save(1, state, {})
    checkpoints.save(2, wide, {})
    checkpoints.close()
    again = open_in()
    same_bits(again.restore(2, shapes | {"averages": shapes["params"]})[0], wide)
    # A run that keeps no mean any more goes on without it.
    same_bits(again.restore(2, shapes)[0], state)
    same_bits(again.restore_params(2, shapes["params"], averaged=True), wide["averages"])
    same_bits(again.restore_params(2, shapes["params"]), state["params"])
    same_bits(again.restore_params(1, shapes["params"], averaged=True), state["params"])
    with pytest.raises(UserError, match=r"averages/embed float32\[32, 8\] is in this run alone"):
        again.restore(1, shapes | {"averages": shapes["params"]})


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def shorten(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGES = {
    "flipped bit": lambda step: flip(max((step / "params").rglob("d/*"), key=lambda path: path.stat().st_size)),
    "short file": lambda step: shorten(max((step / "optimizer").rglob("d/*"), key=lambda path: path.stat().st_size)),
    "lost file": lambda step: next((step / "params").rglob("manifest.ocdbt")).unlink(),
    "lost item": lambda step: shutil.rmtree(step / "extra"),
    "lost checksums": lambda step: (step / "checksums.json").unlink(),
    "checksums of nothing": lambda step: (step / "checksums.json").write_text("{}"),
    "checksums that are none": lambda step: (step / "checksums.json").write_text("[]"),
    "checksums without an end": lambda step: (step / "checksums.json").write_text("[" * 100_000),
    "never committed": lambda step: step.rename(step.with_name("20.orbax-checkpoint-tmp")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_step_is_not_taken_and_its_number_is_free_again(open_in, saved, tmp_path, damage):
    checkpoints = open_in()
    for step in (10, 20):
        checkpoints.save(step, saved[0], {"step": step})
    checkpoints.close()
    DAMAGES[damage](tmp_path / "checkpoints" / "20")
    again = open_in()
    assert again.latest() == 10
    with pytest.raises(UserError, match=r"step 20 in .*(is damaged|the steps there are: 10)"):
        again.restore(20, saved[1])
    same_bits(again.restore(10, saved[1])[0], saved[0])
    again.save(20, saved[0], {"step": "anew"})
    again.wait()
    assert again.latest() == 20 and again._read(20, {})[1] == {"step": "anew"}


def test_what_is_to_be_deleted_is_renamed_first_and_swept_at_the_next_start(open_in, saved, tmp_path):
    checkpoints = open_in(keep=1)
    for step in (1, 2):
        checkpoints.save(step, saved[0], {})
    checkpoints.close()
    left = tmp_path / "checkpoints" / "deleted" / "1"
    shutil.copytree(tmp_path / "checkpoints" / "2", left)
    assert Checkpoints(tmp_path / "checkpoints", read_only=True).steps() == [2]
    assert left.exists()
    assert open_in(keep=1).steps() == [2]
    assert not left.exists()


def test_a_reader_sees_the_steps_of_a_run_that_is_alive(open_in, saved):
    writer = open_in()
    writer.save(1, saved[0], {})
    writer.wait()
    reader = open_in(read_only=True)
    assert reader.latest() == 1
    writer.save(2, saved[0], {})
    writer.wait()
    assert reader.latest() == 2


def test_a_full_disk_is_told_with_its_folder(open_in, saved, monkeypatch):
    checkpoints = open_in()
    checkpoints.save(1, saved[0], {})
    checkpoints.wait()

    path_type = type(checkpoints.folder)
    write_text = path_type.write_text

    def full(path, *args, **kwargs):
        if "extra" in str(path.parent.name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_text(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(path_type, "write_text", full)
        with pytest.raises(UserError, match=r"The disk that holds .*checkpoints is full: free some space"):
            checkpoints.save(2, saved[0], {})
            checkpoints.wait()
        checkpoints.close()
    assert open_in(read_only=True).latest() == 1


def test_the_storage_librarys_words_for_a_full_disk_are_understood(open_in, saved, monkeypatch):
    checkpoints = open_in()
    words = "RESOURCE_EXHAUSTED: Failed to write 1599188 bytes to file 4: No space left on device [os_error_code='28']"

    def full():
        raise ValueError(words)

    monkeypatch.setattr(checkpoints._manager, "wait_until_finished", full)
    with pytest.raises(UserError, match="The disk that holds .*checkpoints is full"):
        checkpoints.wait()
    monkeypatch.setattr(checkpoints._manager, "wait_until_finished", lambda: (_ for _ in ()).throw(ValueError("other")))
    with pytest.raises(ValueError, match="other"):
        checkpoints.wait()
    monkeypatch.undo()
