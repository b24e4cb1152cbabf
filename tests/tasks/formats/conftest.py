import json

import pytest

from flan_jax.tasks.examples import examples

LONG = {"inputs": None, "targets": None}


@pytest.fixture
def write(tmp_path):
    """Writes rows into a file, as a JSON array or a line each."""

    def write(name, *rows):
        path = tmp_path / name
        path.write_text(
            json.dumps(list(rows)) if name.endswith(".json") else "".join(json.dumps(r) + "\n" for r in rows)
        )
        return path

    return write


@pytest.fixture
def texts():
    """The prompts and answers of a task, which it registers."""

    def texts(task, tally=None, **how):
        task.register()
        found = examples(task.name, how.pop("split", "train"), LONG, tally=tally, **how)
        return [(one.inputs_text, one.targets_text) for one in found]

    return texts
