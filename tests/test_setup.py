import json
import pathlib

import pytest

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
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


def test_a_run_reads_with_what_it_starts_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = {"kind": "sentencepiece", "path": "vocabulary.model", "size": 8, "eos_id": 1, "fingerprint": "f"}
    for name, changes in (
        ("spiece", {}),
        ("bytes", {"kind": "byte", "path": None}),
        ("own", {"kind": "Own", "path": None}),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "vocabulary.json").write_text(json.dumps(kept | changes))
    of = lambda **changes: setup.vocabulary_of(RunConfig(mixture="m", run_dir="run", **changes))
    assert of() == of(vocabulary="starter") == "starter"
    assert of(data_files=("a.jsonl",)) == str(tmp_path / "run" / "data_vocabulary.model")
    assert (
        of(init_from="spiece")
        == of(init_from="spiece", data_files=("a.jsonl",))
        == str(tmp_path / "spiece/vocabulary.model")
    )
    assert (of(init_from="bytes"), of(init_from="own")) == ("byte", "")
    # VOCABULARY says otherwise; where either is gone, the run has kept it.
    assert of(init_from="spiece", vocabulary="byte") == "byte"
    assert of(vocabulary="gone.model") == str(tmp_path / "gone.model")
    (tmp_path / "spiece").rename(tmp_path / "run")
    assert of(vocabulary="gone.model") == of(init_from="spiece") == str(tmp_path / "run/vocabulary.model")
    with pytest.raises(UserError, match="INIT_FROM own does not say its vocabulary.*--vocabulary spiece.model"):
        setup.learn_vocabulary(
            RunConfig(mixture="m", run_dir="r", init_from="own", data_files=("a.jsonl",)), Learning()
        )
