"""A user's project with a model that trains in a second; its commands run in this process or in their own."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from flan_jax import main
from flan_jax.training.metrics import read_metrics

RUN_FILE = """
import user_tasks
import more_tasks

MIXTURE = "ours"
MODEL = "tiny.gin"
FEATURE_LENGTHS = {"inputs": 64, "targets": 16}
BATCH_SIZE = 8
STEPS = 30
LEARNING_RATE = 3e-3
LOG_PERIOD = 7
SAVE_PERIOD = 10
MESH = {"data": 1}
Optimizer.warmup_steps = 5
Evaluation.batch_size = 16
"""
SIZES = """
Model.embed_dim = 32
Model.num_heads = 2
Model.mlp_dim = 64
Model.num_decoder_layers = 1
"""
MODELS = {
    "tiny.gin": SIZES + "Model.num_encoder_layers = 1\nModel.local_heads = True\n",
    "tiny_decoder.gin": SIZES + 'Model.architecture = "decoder"\nModel.mlp_activation = "gated_silu"\n',
}


@dataclasses.dataclass(frozen=True)
class Done:
    """What a command did."""

    code: int
    out: str
    err: str


@dataclasses.dataclass(frozen=True)
class Project:
    """A folder with `run.gin`, `user_tasks.py` and their data, and a folder that stores are shared in."""

    folder: pathlib.Path
    stores: pathlib.Path

    @property
    def compiled(self) -> pathlib.Path:
        """Keeps compiled programs: tests that compile the same ones do so once."""
        return self.stores / "compiled"

    def write(self) -> None:
        """Puts the gin files there."""
        for name, text in {"run.gin": RUN_FILE, **MODELS}.items():
            (self.folder / name).write_text(text)

    def __call__(self, command: str, *argv: Any) -> Done:
        """Runs a command in this process, from the project's folder."""
        return run(command, *argv, "--store_dir", self.stores, cwd=self.folder, compiled=self.compiled)

    def train(self, run_dir: pathlib.Path, *argv: Any, gin_file: str = "run.gin") -> Done:
        """Trains by `run.gin`; what goes wrong is the test's failure."""
        done = self("train", "--gin_file", gin_file, "--run_dir", run_dir, *argv)
        assert done.code == 0, done.err
        return done

    def start(
        self, *argv: Any, env: dict[str, str] | None = None, program: Sequence[str] = ("-m", "flan_jax.main")
    ) -> subprocess.Popen:
        """Starts a command as a process of its own."""
        return subprocess.Popen(
            [sys.executable, *program, *map(str, argv), "--store_dir", str(self.stores)],
            cwd=self.folder,
            env={**os.environ, **environment(self.compiled), **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def cache_settings(folder: pathlib.Path | None) -> dict[str, Any]:
    """JAX's settings for keeping every compiled program in a folder."""
    return {
        "jax_compilation_cache_dir": folder and str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }


def environment(compiled: pathlib.Path) -> dict[str, str]:
    """The same settings, and the platform, for a process."""
    kept = {name.upper(): str(value) for name, value in cache_settings(compiled).items()}
    return {"JAX_PLATFORMS": "cpu", **kept}


@contextlib.contextmanager
def programs_kept(folder: pathlib.Path | None) -> Iterator[None]:
    """Keeps what this process compiles, for a while."""
    wanted = cache_settings(folder)
    before = {name: getattr(jax.config, name) for name in wanted}

    def use(settings: dict[str, Any]) -> None:
        for name, value in settings.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()

    use(wanted)
    try:
        yield
    finally:
        use(before)


def run(*argv: Any, cwd: pathlib.Path, compiled: pathlib.Path | None = None) -> Done:
    """Runs a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    path = list(sys.path)
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with contextlib.chdir(cwd), streams[0], streams[1], programs_kept(compiled):
        try:
            code = main.main([str(word) for word in argv])
        finally:
            sys.path[:] = path
    return Done(code, out.getvalue(), err.getvalue())


def check_refused(done: Done, *words: str) -> str:
    """Checks that a command ended as bad input does: code 2, and a readable line a fault; returns what it says."""
    assert done.code == 2, done
    before, _, last = f"\n{done.err}".rpartition("\nflan-jax: ")
    assert last and "Traceback" not in done.err, done.err
    head, *faults = last.splitlines()
    assert bool(faults) == head.endswith(":") and all(line.startswith("  ") for line in faults), done.err
    # Besides these there is nothing but progress.
    assert all(" left " in line or line.startswith("step ") for line in before.strip().splitlines()), done.err
    for word in words:
        assert word in last, last
    return last


def fill(place: pathlib.Path, left: int) -> pathlib.Path:
    """Fills a small disk up to a number of bytes."""
    filler = place / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(place).free - left))
    return filler


def rows(run_dir: pathlib.Path) -> list[dict[str, Any]]:
    """The metrics of a run's steps, without what depends on the clock."""
    return [
        {k: v for k, v in row.items() if k != "tokens_per_second"}
        for row in read_metrics(run_dir / "metrics.jsonl")
        if "scores" not in row
    ]


def scores(run_dir: pathlib.Path) -> dict[int, dict[str, Any]]:
    """The scores in a run's metrics, by step."""
    found = [(row["step"], row["scores"]) for row in read_metrics(run_dir / "metrics.jsonl") if "scores" in row]
    assert len(dict(found)) == len(found), "a step's scores stand there twice"
    return dict(found)


def losses(run_dir: pathlib.Path) -> list[float]:
    """The loss of every step."""
    return [row["loss"] for row in rows(run_dir)]


def plan_of(run_dir: pathlib.Path) -> dict[str, Any]:
    """What `plan.json` says."""
    return json.loads((run_dir / "plan.json").read_text())


def write_rows(path: pathlib.Path, rows: Sequence[Any]) -> pathlib.Path:
    """Writes JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def wait_for(what: Callable[[], Any], process: subprocess.Popen, seconds: float = 120) -> None:
    """Waits until something holds of a process that must be alive meanwhile."""
    until = time.monotonic() + seconds
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.002)
