"""Fixtures that more than one room uses; the costly ones are made once a session."""

import json
import os
import pathlib
import subprocess

import pytest

WORDS = tuple("apple pear plum stone river cloud walk sing quick slow red green blue one two three".split())  # noqa: SIM905
DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"

# Two of our tasks, a plain seqio task, and mixtures of them: what a user's own module looks like.
USER_TASKS = """
import functools
import os

import seqio
import tensorflow as tf

from flan_jax.tasks import InstructionTask, jsonl, mixture, proportional

FOLDER = os.path.dirname(os.path.abspath(__file__))
BYTES = seqio.ByteVocabulary()

InstructionTask(
    name="capitals",
    source=jsonl(FOLDER + "/capitals.jsonl", validation_rows=6),
    templates=("What is the capital of {country}?", "Name {country}'s capital."),
    held_out_templates=("Which city governs {country}?",),
    answer="capital",
    vocabulary=BYTES,
    cap=15,
).register()

InstructionTask(
    name="parity",
    source=jsonl(FOLDER + "/parity.jsonl", validation_rows=6),
    templates=("Is {number} odd or even?",),
    options=("odd", "even"),
    answer="parity",
    vocabulary=BYTES,
).register()

seqio.TaskRegistry.add(
    "shout",
    source=seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.range(40).map(
            lambda i: {"inputs": tf.strings.join(["say ", tf.strings.as_string(i)]), "targets": tf.strings.as_string(i)}
        ),
        splits=["train", "validation"],
        num_input_examples={"train": 40, "validation": 40},
    ),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
    postprocess_fn=lambda text, **_: text,
    metric_fns=[lambda targets, predictions: {"equal": sum(map(str.__eq__, targets, predictions)) / len(targets)}],
)

mixture("ours", ["capitals", "parity"])
at_most_20 = functools.partial(seqio.mixing_rate_num_examples, maximum=20)
seqio.MixtureRegistry.add("theirs", ["shout", "parity"], default_rate=at_most_20)
seqio.MixtureRegistry.add("nested", [("ours", 1.0), ("shout", 2.0)])
"""

# More of them, for tests that train: plain text beside instructions, a task that is rare, one with few rows,
# and one of other code that has no metric.
MORE_TASKS = """
import seqio
import tensorflow as tf

from flan_jax.tasks import InstructionTask, SpanCorruption, jsonl, mixture, task_from_file, text
from user_tasks import BYTES, FOLDER

SENTINELS = seqio.ByteVocabulary(extra_ids=20)
InstructionTask(
    name="parity_with_sentinels",
    source=jsonl(FOLDER + "/parity.jsonl"),
    templates=("Is {number} odd or even?",),
    options=("odd", "even"),
    answer="parity",
    vocabulary=SENTINELS,
).register()
SpanCorruption("prose", text(FOLDER + "/prose.txt"), vocabulary=SENTINELS).register()
SpanCorruption("held_prose", text(FOLDER + "/prose.txt", validation_rows=9), vocabulary=SENTINELS).register()
mixture("two_objectives", [("parity_with_sentinels", 1.0), ("prose", 1.0)])
mixture("rare", [("capitals", 1.0), ("parity", 1000.0)])
task_from_file(FOLDER + "/few.jsonl", "few", vocabulary=BYTES).register()
seqio.TaskRegistry.add(
    "plain",
    source=seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(
            {"inputs": ["one", "three", "four hundred"], "targets": ["1", "3", "400"]}
        ),
        splits=["train"],
    ),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
)
mixture("ours_eval", ["capitals", "capitals.held_out_templates", "parity"])


def log_likelihood(targets, scores):
    return {"log_likelihood": scores.sum()}


def sureness(targets, predictions, aux_values):
    return {"sure": aux_values["scores"].sum()}


def broken(targets, predictions):
    raise ZeroDivisionError("no words")


rows = {"inputs": ["one", "three", "four hundred"], "targets": ["1", "3", "400"]}
for name, metrics in {"judged": [sureness, log_likelihood, broken], "likely": [log_likelihood]}.items():
    seqio.TaskRegistry.add(
        name,
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(rows), splits=["validation"]
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
        metric_fns=metrics,
    )
mixture("judged_eval", ["likely", "judged", "parity"])
"""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Keeps what commands keep of earlier ones out of the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLAN_JAX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def user_folder(tmp_path_factory) -> pathlib.Path:
    """A folder as a user has it: a module of tasks, and data beside it."""
    folder = tmp_path_factory.mktemp("a user's folder")
    (folder / "user_tasks.py").write_text(USER_TASKS)
    rows = [{"country": f"Country {i}", "capital": f"Town {i}"} for i in range(30)]
    (folder / "capitals.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rows = [{"number": i, "parity": ("even", "odd")[i % 2]} for i in range(46)]
    (folder / "parity.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "more_tasks.py").write_text(MORE_TASKS)
    (folder / "prose.txt").write_text("\n\n".join(f"The river {i} meets the sea." for i in range(40)))
    rows = [{"prompt": f"Say {i}.", "completion": f"{i}"} for i in range(37)]
    (folder / "few.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="session")
def worker(user_folder):
    """One data process with the user's modules; importing TensorFlow costs seconds, so tests share it."""
    from flan_jax.data.request import WorkerSetup
    from flan_jax.data.worker import Worker

    with Worker(WorkerSetup(("user_tasks", "more_tasks"), (str(user_folder),))) as shared:
        yield shared


@pytest.fixture(scope="session")
def leaky(tmp_path_factory):
    """A data process with tasks whose rows repeat and leak, and the folder they are in; see `tests/leaky.py`."""
    from flan_jax.data.request import WorkerSetup
    from flan_jax.data.worker import Worker
    from tests.leaky import write

    folder = tmp_path_factory.mktemp("leaky")
    write(folder)
    with Worker(WorkerSetup(("leaky_tasks",), (str(folder),))) as started:
        yield folder, started


@pytest.fixture(scope="session")
def project(user_folder, tmp_path_factory):
    """The user's folder with a run's gin file in it; see `tests/project.py`."""
    from tests.project import Project

    made = Project(user_folder, tmp_path_factory.mktemp("stores"))
    made.write()
    return made


@pytest.fixture(scope="session")
def trained(project, tmp_path_factory) -> pathlib.Path:
    """The folder of a run of 30 steps, scored before and after; tests look at it and leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    project.train(folder, "--eval_mixture", "ours_eval", "--gin.Evaluation.before=True")
    return folder


@pytest.fixture(scope="session")
def loader_of():
    """Makes the loader of a run out of what its folder keeps."""
    from flan_jax import setup
    from flan_jax.config.kept import load_run
    from flan_jax.data.loader import Loader, Reader
    from flan_jax.data.planning import plan as plans

    def made(run_dir: pathlib.Path) -> Loader:
        kept, config = json.loads((run_dir / "plan.json").read_text()), load_run(run_dir)
        shape = setup.shape_of(config)
        return Loader(plans.Plan.from_description(kept["plan"]), Reader(kept["folders"], shape), config.batch_size)

    return made


@pytest.fixture
def warm(worker, monkeypatch):
    """Lets commands use the shared data process, where starting one of their own is not the point."""
    import contextlib

    from flan_jax import setup

    monkeypatch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB; skipped where mounting is not allowed."""
    place = tmp_path / "small disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(place)], capture_output=True)
    if made.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
    """The folder of real instruction data that lies beside the clone; tests that want it are skipped without it."""
    if not DATA.exists():
        pytest.skip(f"no real data at {os.path.relpath(DATA)}")
    return DATA


@pytest.fixture
def own_registries(monkeypatch):
    """A test that asks for it sees what it registers itself."""
    import seqio

    from flan_jax.tasks import foreign, registry

    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_RECIPES", {})
    monkeypatch.setattr(foreign, "_VERSIONS", {})


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A vocabulary of 400 pieces that knows some English words."""
    from flan_jax.tasks import train_sentencepiece

    path = tmp_path_factory.mktemp("vocabulary") / "small.model"
    texts = [f"{a} {b} is it so?\nThe {a} and a {b}, {c}." for a in WORDS for b in WORDS for c in WORDS[:4]]
    train_sentencepiece(texts, 400, path)
    return str(path)
