import json
import pathlib

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from tests.project import write_rows


class Learning:
    """Stands for the data process: notes what a vocabulary is learnt from, and writes one."""

    def __init__(self):
        self.learnt = []

    def call(self, op, *, output, **how):
        self.learnt.append(how)
        pathlib.Path(output).write_text(str(len(self.learnt)))


def test_a_vocabulary_that_was_learnt_from_other_data_is_not_used(tmp_path):
    """`plan` may have left it there, with other files, other columns or other rows held out."""
    for name in ("one", "two"):
        write_rows(tmp_path / f"{name}.jsonl", [{"prompt": name, "completion": name}])
    worker = Learning()

    def times(name, **changes):
        how = {"data_files": (str(tmp_path / f"{name}.jsonl"),), "run_dir": str(tmp_path / "run"), **changes}
        setup.learn_vocabulary(RunConfig(mixture="user_data", **how), worker)
        return len(worker.learnt)

    assert [times("one"), times("one")] == [1, 1]
    assert [times("two"), times("two", data_fields={"inputs": "a"}), times("two", data_held_out=3)] == [2, 3, 4]
    assert [times("one"), times("one")] == [5, 5]
    write_rows(tmp_path / "one.jsonl", [{"prompt": "another", "completion": "row"}])
    assert times("one") == 6
    (tmp_path / "run" / "data_vocabulary.json").unlink()  # a kill between the two
    assert times("one") == 7
    assert json.loads((tmp_path / "run" / "data_vocabulary.json").read_text())["size"] == 4096
