"""A run's folder: whatever moment its writer is killed at, what stands there reads, and the next start mends it."""

import contextlib
import dataclasses
import json
import math
import signal
import types

import pytest

from flan_jax.config.run_config import RunConfig
from flan_jax.data.planning.plan import Plan, PlannedTask, shares_of
from flan_jax.errors import UserError
from flan_jax.evaluation.scoring import TaskScore
from flan_jax.run_folder import RunFolder, read_plan, trained_tasks
from flan_jax.text import kept_vocabulary as vocabulary
from tests.data.faults import Faults, forked
from tests.tokenizer_folders import byte_level

CONFIG = RunConfig(mixture="m", steps=3)


def score_of(task: str, score: float) -> TaskScore:
    return TaskScore(task, "rank", 3, {"accuracy": score}, score, None, {})


@pytest.fixture
def data(tmp_path):
    """The parts of a run's data that its folder keeps."""
    (tmp_path / "model").write_bytes(bytes(range(256)) * 100)
    plan = Plan([PlannedTask("t", 9, shares_of([1.0])[0], "f" * 32, 1)], {"inputs": 8, "targets": 8}, 0)
    described = {"kind": "sentencepiece", "size": 9, "eos_id": 1, "fingerprint": "v", "path": str(tmp_path / "model")}
    resolved = types.SimpleNamespace(tasks=[], vocabulary=described)
    reader = types.SimpleNamespace(folders=["/stores/t/x"], selections=[None])
    return types.SimpleNamespace(plan=plan, resolved=resolved, reader=reader, teacher=None, lanes=None)


def write(folder, data):
    folder.write(CONFIG, data, {"batch_size": CONFIG.batch_size})
    folder.write_scores(3, [score_of("t", 0.5)])


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_killed_at_any_point_the_folder_reads_and_the_next_start_mends_it(tmp_path, data):
    write(RunFolder(tmp_path / "whole"), data)
    reference = files(tmp_path / "whole")

    def attempt(place, at):
        def work():
            faults = Faults(at)
            faults.install()
            write(RunFolder(place), data)
            return faults.passed

        return forked(work)

    _, points = attempt(tmp_path / "counted", None)
    assert len(points) == 4 * len(reference) == 28
    for at, point in enumerate(points):
        place = tmp_path / f"killed at {at}"
        ended, _ = attempt(place, at)
        assert ended == signal.SIGKILL, point
        folder = RunFolder(place)
        if (place / "config.json").exists():
            assert folder.earlier().steps == 3, point
        assert folder.check_plan(CONFIG, data) == [] and folder.prompt_form() == ("{}", False), point
        assert folder.read_scores(3) in (None, json.loads(json.dumps([dataclasses.asdict(score_of("t", 0.5))]))), point
        assert (vocabulary.kept(place) or {"size": 9})["size"] == 9, point
        with contextlib.suppress(FileNotFoundError):
            assert (place / "vocabulary.model").read_bytes() == reference["vocabulary.model"], point
        write(folder, data)
        assert files(place) == reference, point


def test_scores_that_are_not_finite_are_null(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.write_scores(3, [score_of("t", math.nan), score_of("u", math.inf), score_of("v", 0.5)])

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    written = json.loads((folder.path / "scores/step-3.json").read_text(), parse_constant=refuse)
    assert [row["score"] for row in written["tasks"]] == [None, None, 0.5]
    assert folder.read_scores(3) == written["tasks"]


@pytest.mark.parametrize("name", ["plan.json", "vocabulary.json", "scores/step-3.json"])
def test_a_damaged_file_is_named(tmp_path, data, name):
    folder = RunFolder(tmp_path / "run")
    write(folder, data)
    (folder.path / name).write_text('{"half')
    read = {"plan.json": read_plan, "vocabulary.json": vocabulary.kept}.get(name, lambda _: folder.read_scores(3))
    with pytest.raises(UserError, match=f"{name} is damaged .*flan-jax"):
        read(folder.path)


def test_scores_that_someone_edited_are_told_as_such(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_scores(3, [score_of("t", 0.5)])
    path = tmp_path / "scores/step-3.json"
    (whole,) = json.loads(path.read_text())["tasks"]
    earlier = {name: value for name, value in whole.items() if name not in ("unit", "failures")}
    path.write_text(json.dumps({"tasks": [earlier]}))
    assert folder.read_scores(3) == [earlier]
    for edited, words in (
        ([], "it holds no list of tasks"),
        ({"step": 3}, "it holds no list of tasks"),
        ({"tasks": [5]}, "it holds no list of tasks"),
        ({"tasks": [{**whole, "failures": 5}]}, "tasks.0.failures is '5'"),
        ({"tasks": [{**whole, "score": "x"}]}, "tasks.0.score is 'x'"),
        ({"tasks": [{**whole, "rank": 1}]}, "tasks.0 holds rank"),
        ({"tasks": [{"task": "t"}]}, "it lacks tasks.0.kind"),
    ):
        path.write_text(json.dumps(edited))
        with pytest.raises(UserError, match=rf"step-3.json is damaged \({words}\); delete it, and `flan-jax eval`"):
            folder.read_scores(3)


def test_another_vocabulary_takes_the_place_of_the_one_before(tmp_path, data):
    folder = RunFolder(tmp_path / "run")
    write(folder, data)
    (tmp_path / "model").write_bytes(b"another")
    write(folder, data)
    assert (folder.path / "vocabulary.model").read_bytes() == b"another"


def lanes_of(kept, order=None, **changes):
    """Lanes of a plan whose text has the rows of its mixture, all but what is changed."""
    lane = {"plan": kept["plan"], "folders": kept["folders"], "rows": {"inputs": 8, "targets": 8}, "batch_size": 4}
    return {"order": order or {"shares": [1, 1], "courses": []}, "beside": [{**lane, **changes}]}


def test_the_tasks_of_all_lanes_are_trained(tmp_path, data):
    write(RunFolder(tmp_path), data)
    kept = read_plan(tmp_path)
    assert trained_tasks(tmp_path) == ["t"]
    (tmp_path / "plan.json").write_text(json.dumps(kept | {"lanes": lanes_of(kept)}))
    assert trained_tasks(tmp_path) == ["t", "t"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda kept: kept.pop("folders"), "it lacks folders"),
        (lambda kept: kept.update(selections=[1]), "selections are of another kind"),
        (lambda kept: kept.update(selections=[None, None]), "selections are of another kind"),
        (lambda kept: kept.update(folders=[]), "it has 1 task and 0 folders"),
        (lambda kept: kept["plan"].update(seed="x"), "plan.seed is 'x'"),
        (lambda kept: kept["plan"].update(tasks=[]), "it has 0 tasks and 1 folder"),
        (lambda kept: kept["plan"]["tasks"][0].update(count=0), "a count or a share in it is below 1"),
        (lambda kept: kept["plan"]["tasks"][0].update(weight=1), "plan.tasks.0 holds weight"),
        (lambda kept: kept["plan"].update(capacities={"inputs": 0}), "below 1"),
        (lambda kept: kept.update(plan=[]), r"plan is '\[\]'"),
        (lambda kept: kept.update(table={}), "it lacks table.batch_size"),
        (lambda kept: kept.update(lanes=[]), "lanes are of another kind"),
        (lambda kept: kept.update(lanes={"beside": []}), "lanes.beside is of another kind"),
        (lambda kept: kept.update(lanes=lanes_of(kept, order=[5])), "lanes.order is of another kind"),
        (lambda kept: kept.update(lanes=lanes_of(kept, order={"shares": []})), "it lacks lanes.order.courses"),
        (lambda kept: kept.update(lanes=lanes_of(kept, order={"shares": [1], "courses": []})), "1 shares, of 2 lanes"),
        (lambda kept: kept.update(lanes=lanes_of(kept, rows=5)), "in lanes.beside.0: rows is '5'"),
        (lambda kept: kept.update(lanes=lanes_of(kept, folders=[])), "in lanes.beside.0: it has 1 task and 0 folders"),
    ],
)
def test_a_plan_that_someone_edited_is_told_as_such(tmp_path, data, change, words):
    write(RunFolder(tmp_path), data)
    kept = read_plan(tmp_path)
    change(kept)
    (tmp_path / "plan.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match=f"plan.json is damaged .*{words}.*; delete it, and the run's own"):
        read_plan(tmp_path)


def test_a_description_of_a_vocabulary_that_someone_edited_is_told_as_such(tmp_path, data):
    write(RunFolder(tmp_path), data)
    path = tmp_path / "vocabulary.json"
    whole = json.loads(path.read_text())
    assert vocabulary.kept(tmp_path)
    for edited, words in (
        (None, "it holds no object"),
        ([], "it holds no object"),
        ({**whole, "kind": 5}, "kind is '5'"),
        ({**whole, "path": -1}, "path is '-1'"),
        ({**whole, "path": None}, "it names no path"),
        ({**whole, "eos_id": -1}, "the id of an end is none"),
        ({**whole, "files": []}, r"files is '\[\]'"),
        ({**whole, "pad_id": "word"}, "pad_id is 'word'"),
        ({**whole, "pad_id": -7}, "pad_id is none"),
        ({**whole, "extra_ids": {"a": 1}}, "extra_ids is .*'a': 1"),
        ({**whole, "extra_ids": 10**9}, "extra_ids is 1000000000 of"),
        ({**whole, "extra_ids": -1}, "extra_ids is -1 of"),
        ({**whole, "size": -1}, "extra_ids is 0 of -1"),
        ({**whole, "reads_as": "word"}, "reads_as is 'word'"),
        ({name: value for name, value in whole.items() if name != "size"}, "it lacks size"),
    ):
        path.write_text(json.dumps(edited))
        for check in (False, True):
            with pytest.raises(UserError, match=rf"vocabulary.json is damaged \({words}.*\); delete it, and"):
                vocabulary.kept(tmp_path, check)
    path.unlink()
    assert vocabulary.kept(tmp_path) is None


@pytest.mark.parametrize("name", ["vocabulary.model", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"])
def test_a_vocabulary_that_was_exchanged_is_named(tmp_path, data, name):
    if "/" in name:
        data.resolved.vocabulary |= {"kind": "tokenizers", "path": str(byte_level(tmp_path / "tokens"))}
    folder = RunFolder(tmp_path / "run")
    write(folder, data)
    kept = vocabulary.kept(folder.path)
    assert kept == data.resolved.vocabulary | {"path": str(folder.path / name.replace("_config", ""))}
    content = (folder.path / name).read_bytes()
    (folder.path / name).write_bytes(content + b" ")
    with pytest.raises(UserError, match=f"{name} is another file .*put that back.*flan-jax train"):
        vocabulary.kept(folder.path)
    (folder.path / name).unlink()
    with pytest.raises(UserError, match=f"{name} is gone"):
        vocabulary.kept(folder.path)
    write(folder, data)
    assert (folder.path / name).read_bytes() == content and vocabulary.kept(folder.path) == kept
    # Folders of earlier versions say nothing of their files.
    said = json.loads((folder.path / "vocabulary.json").read_text())
    (folder.path / "vocabulary.json").write_text(json.dumps({k: v for k, v in said.items() if k != "files"}))
    (folder.path / name).write_bytes(b"another")
    assert vocabulary.kept(folder.path) == kept
