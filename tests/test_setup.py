import dataclasses
import json
import pathlib

import pytest

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests.project import write_rows
from tests.tokenizer_folders import byte_level


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


def test_a_run_reads_with_its_tokenizer_and_what_it_adds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    byte_level(tmp_path / "base", None)
    (tmp_path / "chat.jinja").write_text("{{ messages[0].content }}<|end|>")
    how = {"mixture": "m", "run_dir": "run", "vocabulary": "base", "special_tokens": ("<|end|>",)}
    config = RunConfig(**how, chat_template="chat.jinja")
    with setup.worker_of(config) as worker:  # whatever command asks for the data
        assert worker.setup.vocabulary == setup.vocabulary_of(config) == str(tmp_path / "run/extended_tokenizer")
    first = TokenizerFolder(setup.vocabulary_of(config))
    assert (first.size, first.chat_template) == (313, "{{ messages[0].content }}<|end|>")
    assert setup.vocabulary_of(RunConfig(**how | {"run_dir": "", "store_dir": "s"})) == str(
        tmp_path / "s/extended_tokenizer"
    )
    # Its content is the same in another run, and follows what is added.
    for name, changes, same in (("again", {}, True), ("other", {"chat_template": None}, False)):
        setup.extend_vocabulary(other := dataclasses.replace(config, run_dir=name, **changes))
        assert (TokenizerFolder(setup.vocabulary_of(other)).fingerprint == first.fingerprint) == same
    described = {"kind": "tokenizers", "path": "x/tokenizer.json", "fingerprint": "f"}
    with pytest.raises(UserError, match=r"the tasks of m insist on x/tokenizer.json; leave `vocabulary` out of their"):
        setup.check_extended(config, described)
    # Where what was added is gone, the run has kept what came of it.
    (tmp_path / "chat.jinja").unlink()
    with pytest.raises(UserError, match="CHAT_TEMPLATE chat.jinja cannot be read"):
        setup.extend_vocabulary(config)
    kept = {"kind": "tokenizers", "path": "tokenizer/tokenizer.json", "size": 313, "eos_id": 2, "fingerprint": "f"}
    (tmp_path / "run/vocabulary.json").write_text(json.dumps(kept))
    assert setup.extend_vocabulary(config) is None
    assert setup.vocabulary_of(config) == str(tmp_path / "run/tokenizer/tokenizer.json")


def test_what_cannot_take_new_tokens_is_refused(tmp_path):
    def refused(match, **how):
        with pytest.raises(UserError, match=match):
            setup.worker_of(RunConfig(mixture="m", run_dir=str(tmp_path / "run"), special_tokens=("<|end|>",), **how))

    refused("SPECIAL_TOKENS: what is added goes into a tokenizer.json, and the run is read with the starter vocabulary")
    refused("read with the byte vocabulary; start from a model that has one with --init_from", vocabulary="byte")
    refused("read with a vocabulary that is learnt from --data", data_files=("a.jsonl",))
    refused("read with what INIT_FROM gone does not say; .*name one with --vocabulary", init_from="gone")
    refused("starter.model has no tokenizer.json, to which", vocabulary="mixtures/starter/starter.model")


def test_a_model_has_a_row_for_each_token():
    sized = lambda rows, size, **how: (
        setup.model_for(RunConfig(model=ModelConfig(vocab_size=rows), **how), size).vocab_size
    )
    assert (sized(0, 130), sized(200, 130)) == (256, 200)
    assert (sized(128, 130, special_tokens=("a", "b")), sized(200, 130, special_tokens=("a",))) == (256, 200)
    with pytest.raises(UserError, match="Model.vocab_size is 128, the tasks' vocabulary has 130; raise it"):
        sized(128, 130)
