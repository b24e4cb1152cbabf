"""Damaged stores: `train` names the file, `prepare --repair` mends it, and training goes on to the same figures."""

import dataclasses
import shutil

import pytest

from flan_jax.data.stores import parts
from flan_jax.data.stores import store as stores
from tests.project import check_refused, losses, run


@pytest.fixture(scope="module")
def alone(project, trained, tmp_path_factory):
    """The project with stores of its own, a run of ten steps in them, and the mixture's name in its command."""
    place = tmp_path_factory.mktemp("alone")
    alone = dataclasses.replace(project, stores=place / "stores")
    alone.stores.mkdir()
    alone.compiled.symlink_to(project.compiled)
    alone.train(place / "run", "--steps", 10, "--eval_mixture", "ours_eval")
    return alone


@pytest.fixture
def scene(alone, tmp_path):
    """Copies of the stores and of the run, to be damaged; the data process must not know the others."""
    scene = dataclasses.replace(alone, stores=tmp_path / "stores")
    shutil.copytree(alone.stores, scene.stores, symlinks=True)
    shutil.copytree(alone.stores.parent / "run", tmp_path / "run")
    stores.forget()
    yield scene
    stores.forget()


def part_of(scene, task, split="train", draw=0):
    (found,) = scene.stores.glob(f"{task}/{split}-*/draw-{draw}/part-00000.bin")
    return found


def flip(path, column):
    """Flips a bit of the last value of a column."""
    part = parts.Part(path)
    values = part.columns[column]
    at = values.ctypes.data - part._bytes.ctypes.data + values.nbytes - 1
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.unlink()
    path.write_bytes(raw)


def train(scene, *more):
    stores.forget()  # what this process has mapped, a new one has not
    return scene("train", "--gin_file", "run.gin", "--run_dir", scene.stores.parent / "run", *more)


def repair(scene, *more, cwd=None):
    stores.forget()
    argv = more or ["--gin_file", "run.gin", "--eval_mixture", "ours_eval", "--store_dir", scene.stores]
    return run("prepare", "--repair", *argv, cwd=cwd or scene.folder)


def digests(scene):
    return {path: path.read_bytes() for path in scene.stores.glob("*/*/draw-*/*")}


@pytest.mark.usefixtures("warm")
def test_flipped_bits_are_named_and_mended_and_the_run_goes_on_to_the_same_figures(scene, trained):
    before, found = digests(scene), part_of(scene, "parity")
    hidden = [part_of(scene, "capitals", draw=4), part_of(scene, "parity", "validation")]
    flip(found, "targets.values")
    flip(hidden[0], "inputs.offsets")
    flip(hidden[1], "options.values")
    scored = ["--eval_mixture", "ours_eval"]
    refused = train(scene, *scored)
    assert refused.code == 2 and "Traceback" not in refused.err, refused
    told = refused.err.strip().splitlines()[-1]
    assert "flan-jax prepare --repair" in told and (str(found) in told or str(hidden[0]) in told)
    # A few examples, chosen by the task's fingerprint, are compared each time: the damaged one may be among them.
    met = "task 'parity': its examples could not be compared" in refused.err
    done = repair(scene)
    assert done.code == 0 and f"{2 if met else 3} faults, mended" in done.out, done
    for path in hidden if met else (found, *hidden):
        assert f"damaged: {path} " in done.out or f" of {path} " in done.out
    assert {path: raw for path, raw in digests(scene).items() if path in before} == before
    assert "all sound" in repair(scene).out
    done = train(scene, *scored)
    assert done.code == 0, done.err
    assert losses(scene.stores.parent / "run") == losses(trained)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("column", ["options.values", "targets.offsets", "inputs.values"])
def test_a_flipped_bit_in_what_is_scored_is_named(scene, column):
    run_dir, path = scene.stores.parent / "run", part_of(scene, "parity", "validation")
    assert scene("eval", "--run_dir", run_dir).code == 0  # an answer is kept, so no process looks at the stores
    flip(path, column)
    stores.forget()
    check_refused(scene("eval", "--run_dir", run_dir), str(path), "flan-jax prepare --repair")
    # As the sentence says, from the run's folder alone.
    done = repair(scene, "--run_dir", ".", "--store_dir", scene.stores, cwd=run_dir)
    assert done.code == 0 and f"damaged: {path} " in done.out and "1 faults, mended" in done.out, done
    stores.forget()
    done = scene("eval", "--run_dir", run_dir)
    assert done.code == 0 and "parity" in done.out, done


@pytest.mark.usefixtures("warm")
def test_a_run_whose_last_scoring_failed_is_scored_when_it_is_started_again(scene, trained):
    run_dir, scored = scene.stores.parent / "run", ["--steps", 12, "--eval_mixture", "ours_eval"]
    assert scene("eval", "--run_dir", run_dir).code == 0
    path = part_of(scene, "parity", "validation")
    flip(path, "inputs.values")
    check_refused(train(scene, *scored), str(path), "flan-jax prepare --repair")
    assert losses(run_dir) == losses(trained)[:12] and not (run_dir / "scores/step-12.json").exists()
    assert "1 faults, mended" in repair(scene).out
    done = train(scene, *scored)
    assert done.code == 0 and "is finished: step 12 of 12" in done.out and "SEEN TEMPLATES" in done.out, done
    assert (run_dir / "scores/step-12.json").exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("damage", "file", "told"),
    [
        (cut, "part-00000.bin", "has 100 bytes, its manifest says"),
        (lambda path: path.unlink(), "part-00000.bin", "is missing"),
        (lambda path: path.write_text('{"digest'), "manifest.json", "cannot be read"),
        (lambda path: path.unlink(), "manifest.json", None),  # as of a store that was not finished: no fault to tell
    ],
)
def test_what_opening_a_store_shows_is_named_and_prepared_again_by_any_command(scene, damage, file, told):
    scene("plan", "--gin_file", "run.gin")
    before, path = digests(scene), part_of(scene, "parity").with_name(file)
    for command in ("repair", "plan"):
        damage(path)
        if command == "repair":
            done = repair(scene)
            assert "1 faults, mended" in done.out and str(path.parent) in done.out and file in done.out
        else:
            stores.forget()
            done = scene("plan", "--gin_file", "run.gin")
            assert f"{path} {told}" in done.err if told else done.err == "", done
        assert done.code == 0, done
        assert {path: raw for path, raw in digests(scene).items() if path in before} == before


def test_from_a_runs_folder_alone_with_a_process_of_its_own(scene, alone):
    """STORE_DIR was not absolute when the run was trained: the plan knows where it was."""
    run_dir = scene.stores.parent / "run"
    config, path = run_dir / "config.json", part_of(alone, "parity")
    text = config.read_text()
    assert str(alone.stores) in text
    config.write_text(text.replace(f'"{alone.stores}"', '"runs/stores"'))
    sound = path.read_bytes()
    flip(path, "targets.values")
    stores.forget()
    done = run("prepare", "--repair", "--run_dir", ".", cwd=run_dir)
    assert done.code == 0 and f"damaged: {path} " in done.out and "1 faults, mended" in done.out, done
    assert path.read_bytes() == sound
    assert not (run_dir / "runs").exists()
