"""Preparing by Apache Beam: real pipelines in real processes; in the environment without Beam, what it says there.

Run by: UV_PROJECT_ENVIRONMENT=.venv-beam uv run --extra test --extra beam pytest tests/data/preparing/test_beam.py
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import flan_jax.mixtures.starter
from flan_jax.config import command_line
from flan_jax.data.preparing import beam, filling
from flan_jax.data.preparing.registering import register_tasks
from flan_jax.data.preparing.resolving import first_draws
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import mirror, parts
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.tasks import examples, fingerprints, vocabularies
from tests.project import check_refused, run

needs_beam = pytest.mark.skipif(importlib.util.find_spec("apache_beam") is None, reason="Apache Beam is not installed")

TASKS = """
import os

import seqio
import tensorflow as tf

from flan_jax.tasks import InstructionTask, SpanCorruption, generator, jsonl, mixture, text

FOLDER = os.path.dirname(os.path.abspath(__file__))
BYTES = seqio.ByteVocabulary(extra_ids=20)
DOUBLE = dict(templates=("Twice {n}?", "{n} and {n} make", "Double {n}:"), answer="double", vocabulary=BYTES)


def doubles(split):
    return ({"n": n, "double": 2 * n} for n in range(17_500))


InstructionTask("beam_few", jsonl(FOLDER + "/few.jsonl"), cluster="sums", **DOUBLE).register()
InstructionTask("beam_many", jsonl(FOLDER + "/many.jsonl"), cluster="sums", **DOUBLE).register()
InstructionTask("beam_made", generator(doubles, ("train",)), **DOUBLE).register()
InstructionTask("beam_understated", generator(doubles, ("train",), {"train": 9_000}), **DOUBLE).register()
InstructionTask("beam_overstated", generator(doubles, ("train",), {"train": 60_000}), **DOUBLE).register()
InstructionTask("beam_broken", jsonl(FOLDER + "/broken.jsonl"), **DOUBLE).register()
SpanCorruption("beam_prose", text(FOLDER + "/prose.txt"), vocabulary=BYTES).register()
seqio.TaskRegistry.add(
    "beam_foreign",
    source=seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.range(60).map(
            lambda i: {"inputs": tf.strings.join(["say ", tf.strings.as_string(i)]), "targets": tf.strings.as_string(i)}
        ),
        splits=["train"],
        num_input_examples={"train": 60},
    ),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
)
mixture("beam_mixture", ["beam_few", "beam_prose", "beam_foreign", "beam_many"])
"""
NAMES = [f"beam_{name}" for name in ("few", "many", "prose", "made", "understated", "overstated", "foreign")]
LAUNCH = pathlib.Path(__file__).parents[3] / "launch"
HERE = "--direct_running_mode=in_memory", "--direct_num_workers=1"


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> pathlib.Path:
    """A module of tasks with its data, registered in this process too."""
    made = tmp_path_factory.mktemp("beam tasks")
    (made / "beam_tasks.py").write_text(TASKS)
    rows = [json.dumps({"n": n, "double": 2 * n}) for n in range(18_000)]
    (made / "many.jsonl").write_text("\n".join(rows))
    (made / "few.jsonl").write_text("\n".join(rows[:50]))
    (made / "broken.jsonl").write_text("\n".join([*rows[:9], '{"n": 9, "doub', *rows[10:20]]))
    (made / "prose.txt").write_text("\n\n".join(f"The river {i} meets the sea." for i in range(90)))
    register_tasks(setup_for(made))
    return made


def setup_for(folder, *flags):
    """What the data process is started with."""
    return WorkerSetup(("beam_tasks",), (str(folder),), beam_options=flags)


def request_for(store_dir, **changes):
    base = Request("", "train", {"inputs": 64, "targets": 16}, 5, str(store_dir))
    return dataclasses.replace(base, **changes)


def jobs_for(names, request):
    """The first draw of tasks, and the second of the first three."""
    first = first_draws(names, request)
    return [*first, *(dataclasses.replace(job, draw=1) for job in first[:3])]


def fill(jobs, request, folder, *flags):
    """Prepares by Beam; returns what was reported."""
    said = []
    beam.fill_stores(jobs, request, setup_for(folder, *flags), lambda **report: said.append(report), "preparing")
    return said


def bytes_in(store_dir) -> dict[str, str]:
    """Digests of all parts and manifests under a folder; nothing else may lie there."""
    found = {}
    for path in pathlib.Path(store_dir).rglob("*"):
        if path.is_file() and path.suffix != ".lock" and path.parent.name not in ("resolved", "selections"):
            found[str(path.relative_to(store_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="session")
def local(folder, tmp_path_factory) -> dict[str, str]:
    """What the processes of this machine write."""
    request = request_for(tmp_path_factory.mktemp("local"))
    setup = dataclasses.replace(setup_for(folder), beam_options=None)
    filling.fill_stores(jobs_for(NAMES, request), request, setup, lambda **_: None, "preparing")
    found = bytes_in(request.store_dir)
    # Ten stores, of which five have two parts.
    assert len(found) == 10 + 5 * 2 + 5
    return found


@needs_beam
@pytest.mark.parametrize(
    "flags",
    [
        ["--direct_num_workers=1"],
        ["--direct_num_workers=2"],
        ["--direct_num_workers=3"],
        ["--direct_running_mode=multi_threading", "--direct_num_workers=4"],
    ],
    ids=["1 process", "2 processes", "3 processes", "4 threads"],
)
def test_any_number_of_workers_writes_the_same_bytes(flags, folder, local, tmp_path):
    request = request_for(tmp_path)
    said = fill(jobs_for(NAMES, request), request, folder, *flags)
    assert bytes_in(tmp_path) == local
    assert said[0]["done"] == 0 and [said[-1]["done"], said[-1]["total"]] == [10, 10]
    assert [one["done"] for one in said] == sorted(one["done"] for one in said)


@needs_beam
def test_a_pipeline_goes_on_from_whole_parts_and_writes_the_others_anew(folder, local, tmp_path):
    request = request_for(tmp_path)
    jobs = first_draws(["beam_made", "beam_few"], request)
    fill(jobs, request, folder, *HERE)
    made, few = (job.target for job in jobs)
    first, second = (stores.part_path(made, k) for k in range(2))
    second.write_bytes(second.read_bytes()[:-1])
    (made / "part-00000.bin.partial-1").write_text("of a writer that was killed")
    watched = first, second, few / stores.MANIFEST
    before = [path.stat().st_mtime_ns for path in watched]
    fill(jobs, request, folder, *HERE)
    found = bytes_in(tmp_path)
    assert len(found) == 5 and found == {name: local[name] for name in found}
    after = [path.stat().st_mtime_ns for path in watched]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]
    assert fill(jobs, request, folder, "--runner=NoSuch")[-1]["done"] == 2, "whole stores need no pipeline"


@needs_beam
def test_stores_at_an_address(folder, local, tmp_path, monkeypatch):
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "cache"))
    request = request_for(f"file://{tmp_path}/bucket")
    jobs = first_draws(["beam_many", "beam_prose", "beam_foreign"], request)
    fill(jobs, request, folder, *HERE)
    found = bytes_in(tmp_path / "bucket")
    assert len(found) == 7 and found == {name: local[name] for name in found}


@needs_beam
def test_workers_wait_for_one_that_prepares_the_same_store(folder, tmp_path):
    request = request_for(tmp_path)
    (job,) = first_draws(["beam_few"], request)
    (other := stores.Lock(job.target)).take()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        filling = pool.submit(fill, [job], request, folder, *HERE)
        with pytest.raises(TimeoutError):
            filling.result(timeout=3)
        assert not list(job.target.glob("part-*"))
        other.release()
        filling.result(timeout=60)
    assert stores.whole(job.target)


KILLED = """
import json, sys
from flan_jax.data.preparing import beam
from flan_jax.data.preparing.jobs import Job
from flan_jax.data.preparing.registering import register_tasks
from flan_jax.data.request import Request, WorkerSetup
setup, request, jobs = json.loads(sys.argv[1])
setup, request = WorkerSetup(**setup), Request(**request)
if __name__ == "__main__":
    register_tasks(setup)
    beam.fill_stores([Job(*job) for job in jobs], request, setup, lambda **_: None, "preparing")
"""


@needs_beam
@pytest.mark.parametrize("victims", ["all processes", "the launching process"])
def test_a_pipeline_killed_in_the_middle_goes_on(victims, folder, local, tmp_path):
    request = request_for(tmp_path / "stores")
    jobs = jobs_for(["beam_many", "beam_prose"], request)
    work = json.dumps(
        [
            dataclasses.asdict(setup_for(folder, "--direct_num_workers=2")),
            dataclasses.asdict(request),
            [dataclasses.astuple(job) for job in jobs],
        ]
    )
    process = subprocess.Popen([sys.executable, "-c", KILLED, work], start_new_session=True, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: any(list(job.target.glob("part-*.bin")) for job in jobs))
        if victims == "all processes":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        assert not all(stores.whole(job.target) for job in jobs), "it was killed too late to show anything"
        # Workers whose pipeline is gone end by themselves.
        wait_until(lambda: not members(process.pid))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    before = {path: path.stat().st_mtime_ns for job in jobs for path in job.target.glob("part-*.bin")}
    assert before
    for path in before:
        parts.verify(path)
    fill(jobs, request, folder, *HERE)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    found = bytes_in(tmp_path / "stores")
    assert len(found) == 2 * (3 + 2) and found == {name: local[name] for name in found}


def members(group: int) -> list[int]:
    """The processes of a group that are not ended."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, of = stat.read_text().rpartition(")")[2].split()[:3]
            found += [int(stat.parent.name)] if int(of) == group and state != "Z" else []
    return found


def wait_until(what, seconds=120):
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


@needs_beam
@pytest.mark.parametrize("mode", ["multi_processing", "in_memory"])
def test_a_bad_row_is_told_as_the_local_path_tells_it(mode, folder, tmp_path):
    request = request_for(tmp_path)
    jobs = first_draws(["beam_broken"], request)
    with pytest.raises(UserError) as wanted:
        filling.fill_stores(
            jobs, request, dataclasses.replace(setup_for(folder), beam_options=None), lambda **_: None, "preparing"
        )
    with pytest.raises(UserError) as told:
        fill(jobs, request, folder, f"--direct_running_mode={mode}", "--direct_num_workers=1")
    assert str(told.value) == str(wanted.value)
    assert "broken.jsonl:10" in str(told.value)


@needs_beam
def test_a_worker_without_the_users_module_says_so(folder, tmp_path):
    request = request_for(tmp_path)
    setup = dataclasses.replace(setup_for(folder, *HERE), modules=("beam_tasks", "no_such_tasks"))
    with pytest.raises(UserError, match="'no_such_tasks' was not found; --module wants"):
        beam.fill_stores(first_draws(["beam_few"], request), request, setup, lambda **_: None, "preparing")


@needs_beam
def test_a_worker_whose_task_is_another_writes_nothing(folder, tmp_path):
    request = request_for(tmp_path)
    (job,) = first_draws(["beam_few"], request)
    with pytest.raises(UserError, match="task 'beam_few' is another on a worker than on the machine that started"):
        fill([dataclasses.replace(job, fingerprint="0" * 32)], request, folder, *HERE)
    assert bytes_in(tmp_path) == {}


@needs_beam
@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--runner=Nope", "Unexpected pipeline runner: Nope"),
        ("--direct_num_workers=two", "argument --direct_num_workers: invalid int value: 'two'"),
    ],
)
def test_flags_that_beam_does_not_take_are_named(flag, said, folder, tmp_path):
    request = request_for(tmp_path)
    with pytest.raises(UserError, match=f"Beam does not take '{flag}' after the --: .*{said}"):
        fill(first_draws(["beam_few"], request), request, folder, flag)


def test_workers_that_write_to_another_place_are_noticed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(beam, "_run", lambda *_: None)
    request = request_for(tmp_path)
    with pytest.raises(UserError, match="2 of 2 stores .that of task 'beam_few' first.* set STORE_DIR to a folder"):
        fill(first_draws(["beam_few", "beam_prose"], request), request, folder)


def run_command(command, folder, store_dir, *words):
    """A command, in this process and its data process."""
    data = "--mixture", "beam_mixture", "--module", "beam_tasks", "--feature_lengths", "inputs=64,targets=16"
    return run(command, *data, "--store_dir", store_dir, *words, cwd=folder)


@needs_beam
def test_prepare_writes_all_that_a_run_reaches(folder, tmp_path):
    words = "--epochs", "3", "--eval_mixture", "beam_few", "--gin.EVAL_EXAMPLES=20"
    words += ("--gin.Evaluation.split='train'",)
    done = run_command("prepare", folder, tmp_path / "beam", *words, "--runner", "beam", "--", *HERE)
    assert done.code == 0, done.err
    assert "4 tasks, 18,200 examples" in done.out and "20 examples to score" in done.out
    by_itself = run_command("prepare", folder, tmp_path / "local", *words)
    assert by_itself.code == 0, by_itself.err
    found = bytes_in(tmp_path / "beam")
    assert found == bytes_in(tmp_path / "local")
    assert any("draw-2" in name for name in found)


@needs_beam
@pytest.mark.parametrize(
    ("script", "words", "wanted"),
    [
        ("flink.sh", ["HOST:8081", "64"], {"runner": "FlinkRunner", "flink_master": "HOST:8081", "parallelism": 64}),
        ("dataflow.sh", ["P", "R", "gs://b/t", "I"], {"runner": "DataflowRunner", "project": "P", "region": "R"}),
    ],
)
def test_the_launch_scripts_use_flags_that_beam_knows(script, words, wanted, tmp_path):
    from apache_beam.options.pipeline_options import PipelineOptions

    (tmp_path / "flan-jax").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "flan-jax").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    typed = [LAUNCH / script, *words, "--mixture", "m", "--store_dir", "a folder"]
    said = subprocess.run(typed, env={"PATH": path}, capture_output=True, text=True, check=True).stdout.splitlines()
    command, options, macros, _ = command_line.parse(said)
    assert (command, options.runner, macros) == ("prepare", "beam", {"MIXTURE": "m", "STORE_DIR": "a folder"})
    found = PipelineOptions(options.beam_options).get_all_options(drop_default=True)
    # A flag that Beam does not know is left out here.
    assert len(found) == len(options.beam_options) and found == found | wanted


def test_beam_where_it_is_missing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = run_command("prepare", folder, tmp_path, "--runner", "beam")
    check_refused(done, "--runner beam needs Apache Beam", "uv sync --extra beam", ".venv-beam/bin/flan-jax prepare")


def test_flags_of_beam_go_with_its_runner(folder, tmp_path):
    check_refused(run_command("prepare", folder, tmp_path, "--", "--region=x"), "'--region=x'", "--runner beam")


HARD_TEXT = "Who is named first?  Ann\tmet Bób.\n\nﬁne ½ – “quoted” 東京 🙂 e\u0301 \u00a0x"
# By the sentencepiece of the environment without Beam, which is another version.
HARD_TEXT_IDS = [
    727,
    646,
    968,
    952,
    1262,
    1185,
    449,
    1195,
    13,
    1200,
    338,
    413,
    199,
    183,
    1201,
    1187,
    3,
    3,
    243,
    176,
    133,
    1195,
    1186,
    1185,
    198,
    193,
    1185,
    230,
    132,
    151,
    1185,
    230,
    132,
    160,
    410,
    315,
    326,
    230,
    132,
    161,
    1185,
    234,
    161,
    181,
    232,
    190,
    176,
    1185,
    244,
    163,
    157,
    134,
    319,
    208,
    133,
    1185,
    198,
    164,
    1220,
]


def test_both_environments_cut_text_into_the_same_tokens():
    model = pathlib.Path(flan_jax.mixtures.starter.__path__[0]) / "starter.model"
    assert list(vocabularies.load(str(model)).encode(HARD_TEXT)) == HARD_TEXT_IDS


def test_stores_of_both_environments_have_the_same_names(folder, monkeypatch):
    """Of the versions that a task of other code counts by, the two differ in that of sentencepiece."""
    before, version = examples.fingerprint("beam_foreign"), importlib.metadata.version
    for package, same in (("sentencepiece", True), ("tensorflow", False)):
        monkeypatch.setattr(importlib.metadata, "version", lambda name, p=package: "0" if name == p else version(name))
        fingerprints._version.cache_clear()
        assert (examples.fingerprint("beam_foreign") == before) == same, package
    fingerprints._version.cache_clear()
