"""What is left out of prepared stores, and what of them is scored: asked of a real data process."""

import json
import pathlib

import numpy as np
import pytest

from flan_jax.data import selection
from flan_jax.data.hygiene_config import HygieneConfig
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.request import Request
from flan_jax.data.resolve import resolve
from flan_jax.data.rows import RowShape
from flan_jax.data.stores.store import Store
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError

LENGTHS = {"inputs": 1024, "targets": 1024}


class NoWorker(Worker):
    """Shows that an answer was used again: asking the data process anything fails."""

    def call(self, op, **arguments):
        raise AssertionError(f"the data process was asked for {op}")


@pytest.fixture(scope="module")
def selected(leaky, tmp_path_factory):
    """Selects of a mixture by settings; gives the mixture, what is left, what was found, and the rows left out."""
    folder, worker = leaky
    stores = tmp_path_factory.mktemp("stores")

    def select(mixture, evals=(), asked=worker, split="train", **settings):
        whole = resolve(Request(mixture, split, LENGTHS, 0, str(stores)), worker)
        left, found = selection.select(whole, HygieneConfig(**settings), evals, "validation", asked)
        return whole, left, found, list(selection.dropped(found.dropped)) if found else []

    return select


def why(rows):
    """Of each row that is left out, by its place in its file: the reason, and the twin's or the eval row's place."""
    place = lambda text: (text.partition(":")[0], int(text.partition(":")[2]))
    return {place(row["id"]): (row["why"], place(row["with"]["id"]) if "with" in row else None) for row in rows}


def ids(resolved):
    """The ids of a pass over what is left, as a run loads them."""
    plan = resolved.plan({"row": 2048}, False, 64)
    loader = Loader(plan, Reader(resolved.folders(plan), RowShape("decoder", 1024, 1024), resolved.selections(plan)), 1)
    found = []
    for step in range(sum(task.count for task in resolved.tasks)):
        ((task, index, draw, _),) = loader.contents(step)[0]
        stored = loader.store(task, draw)[index]
        batch = loader.batch(step)["decoder_target_tokens"][0]
        kept = np.concatenate([stored.inputs, stored.targets])
        assert batch[: len(kept)].tolist() == kept.tolist()
        found.append((plan.tasks[task].name, stored.id))
    return found


def test_nothing_is_asked_where_nothing_is_wanted(selected, leaky):
    whole, left, found, _ = selected("all_birds", asked=NoWorker(leaky[1].setup))
    assert left is whole and found is None


def test_exact_duplicates_within_a_task_and_across_tasks(selected):
    whole, left, found, rows = selected("all_birds", duplicates="exact")
    assert why(rows) == {("birds", 10): ("duplicate", ("birds", 2)), ("more_birds", 1): ("duplicate", ("birds", 4))}
    assert {task.name: task.count for task in left.tasks} == {"birds": 12, "more_birds": 2}
    assert {task.name: task.rate for task in left.tasks} == {"birds": 12.0, "more_birds": 2.0}
    loaded = ids(left)
    of_birds = [one for name, one in loaded if name == "birds"]
    assert set(of_birds) == {f"birds:{number}" for number in range(13)} - {"birds:10"}
    assert {one for name, one in loaded if name == "more_birds"} == {"more_birds:0", "more_birds:2"}
    # The stores are as they were.
    assert [Store(task.store()).count for task in left.tasks] == [13, 3] == [task.count for task in whole.tasks]
    for task in left.tasks:
        store, kept = Store(task.store()), np.load(task.kept)
        tokens = (store.lengths("inputs") + store.lengths("targets"))[kept].mean()
        assert task.means == pytest.approx((tokens, store.lengths("targets")[kept].mean()))


def test_near_duplicates_too(selected):
    *_, rows = selected("birds", duplicates="near")
    assert why(rows) == {("birds", 10): ("duplicate", ("birds", 2)), ("birds", 11): ("near duplicate", ("birds", 3))}
    assert rows[1]["similarity"] == pytest.approx(35 / 41, abs=0.06)


def test_what_asks_the_other_way_round_is_no_duplicate(selected):
    *_, rows = selected("both_ways", duplicates="near")
    assert len(rows) == 4 and all(row["with"]["task"] == row["task"] for row in rows)


def test_conversations_and_tasks_of_other_code(selected):
    assert why(selected("talks", duplicates="exact")[3]) == {("talks", 1): ("duplicate", ("talks", 0))}
    assert why(selected("theirs", duplicates="exact")[3]) == {("train", 1): ("duplicate", ("train", 0))}


def test_rows_that_are_scored_are_dropped_or_reported(selected):
    whole, left, found, rows = selected("all_birds", ["evals"], contamination="drop")
    assert why(rows) == {("birds", 12): ("overlap", ("nests", 0)), ("more_birds", 2): ("eval row", ("nests", 1))}
    assert rows[0]["words"] == 20 and rows[0]["span"].split()[0] == "w100x5" and rows[0]["with"]["place"].endswith(":1")
    assert found.eval_rows == 3 and sum(task.count for task in left.tasks) == 14
    *_, reported = selected("all_birds", ["evals"], contamination="report")
    assert [row["left_out"] for row in reported] == [False, False] and why(reported) == why(rows)
    assert selected("all_birds", ["evals"], contamination="report")[1].tasks == whole.tasks
    *_, strict = selected("all_birds", ["evals"], contamination="drop", ngram=21)
    assert list(why(strict)) == [("more_birds", 2)]


def test_a_twin_of_a_row_that_is_left_out_stays(selected):
    """What is scored goes first: the twin that is named is trained on."""
    *_, rows = selected("all_birds", ["evals"], contamination="drop", duplicates="near")
    out = set(why(rows))
    assert len(out) == 5 and not any(other in out for reason, other in why(rows).values() if "duplicate" in reason)


def test_filters_by_length_and_by_the_users_function(selected):
    *_, rows = selected("birds", max_words=45)
    assert why(rows) == {("birds", 12): ("too many words", None)} and rows[0]["words"] == 62
    *_, rows = selected("birds", keep="leaky_tasks:short_of_twelve")
    assert why(rows) == {("birds", 12): ("Hygiene.keep", None)}


@pytest.mark.parametrize(
    ("mixture", "settings", "said"),
    [
        ("birds", {"keep": "leaky_tasks:shrot"}, "module 'leaky_tasks' has no 'shrot'"),
        ("birds", {"keep": "leaky_taks:short"}, "Hygiene.keep is 'leaky_taks:short'.*was not found"),
        (
            "birds",
            {"keep": "leaky_tasks:broken"},
            r"'leaky_tasks:broken' failed with TypeError.*leaky_tasks.py.*'birds'",
        ),
        ("birds", {"keep": "leaky_tasks:FOLDER"}, "which is no function"),
        ("birds", {"min_words": 1000}, "leaves no example of 'birds'.*dropped.jsonl.*loosen"),
        ("birds", {"contamination": "drop", "evals": ["nest"]}, "'nest'; did you mean 'nests'"),
        (
            "birds",
            {"contamination": "drop", "evals": ["theirs"]},
            "'theirs' has no split 'validation'.*Evaluation.split",
        ),
        ("birds", {"languages": ("xx",)}, "Hygiene.languages has 'xx'; languages that can be told are af, ar"),
    ],
)
def test_what_cannot_be_done_is_said(selected, mixture, settings, said):
    with pytest.raises(UserError, match=f"(?s){said}"):
        selected(mixture, settings.pop("evals", ()), **settings)


def test_an_answer_is_used_again_until_something_changes(selected, leaky):
    folder, worker = leaky
    idle = NoWorker(worker.setup)
    how = {"evals": ["evals"], "contamination": "drop", "duplicates": "exact"}
    first = selected("all_birds", **how)
    assert selected("all_birds", asked=idle, **how) == first
    with pytest.raises(AssertionError, match="asked for select"):
        selected("all_birds", asked=idle, **{**how, "ngram": 9})
    scored = folder / "nests.jsonl"
    before = scored.read_text()
    try:
        scored.write_text(before + "\n")
        with pytest.raises(AssertionError, match="asked for select"):
            selected("all_birds", asked=idle, **how)
    finally:
        scored.write_text(before)
    assert selected("all_birds", **how)[1] == first[1]
    pathlib.Path(first[2].dropped).unlink()
    assert selected("all_birds", **how)[3] == first[3]


def test_a_plan_is_another_with_what_is_left_out(selected):
    whole, left, *_ = selected("all_birds", duplicates="exact")
    plans = [one.plan({"row": 2048}, True, 64) for one in (whole, left)]
    assert plans[0].fingerprint != plans[1].fingerprint
    marks = [[task.fingerprint for task in plan.tasks] for plan in plans]
    assert all(other.startswith(f"{one}-") for one, other in zip(*marks, strict=True))
    *_, other = selected("all_birds", duplicates="exact", max_words=45)[1].tasks
    assert other.trained_as == left.tasks[1].trained_as, "the same is left of it"


def leaks(selected, mixture, scored, split="train", asked=None, **settings):
    _, left, *_ = selected(mixture, ["evals"] if settings else (), split=split, **settings)
    return selection.leaks(left, scored, "validation", asked)


def test_what_a_run_is_scored_by_is_found_in_what_it_trains_on(selected, leaky):
    worker = leaky[1]
    (row,) = leaks(selected, "all_birds", "evals", asked=worker)
    assert "1 row that 'nests' scores is trained on in 'more_birds'" in row
    assert "nests.jsonl:2" in row and "more_birds:2" in row and "w101x0" in row
    assert leaks(selected, "all_birds", "evals", asked=NoWorker(worker.setup)) == [row]
    assert leaks(selected, "all_birds", "evals", asked=worker, contamination="drop") == []
    assert leaks(selected, "birds", "evals", asked=worker) == []
    (wording,) = leaks(selected, "naming", "evals", asked=worker)
    assert "held-out template 'Name the subject of this text: {passage}' of 'nests.held_out_templates'" in wording
    assert "words 'naming'" in wording
    same = leaks(selected, "nests.inverted", "evals", split="validation", asked=worker)
    assert same == [
        f"task {name!r} is scored on its split 'validation', which 'nests.inverted' is trained on"
        for name in ("nests", "nests.held_out_templates")
    ]


def test_of_a_store_nothing_is_read_twice(selected, leaky):
    """Hashes stand beside it: a second question about the same rows reads no text."""
    whole, *_ = selected("birds", duplicates="exact")
    (kept,) = pathlib.Path(whole.tasks[0].store()).glob("contents-*.npy")
    found = np.load(kept)
    assert len(found) == 13 and found["prompt"][2] == found["prompt"][10] and found["count"].tolist() == [1] * 13
    assert found["words"].tolist()[:2] == [42, 42] and found["given"].tolist()[:2] == [40, 40]


def test_the_lines_say_where_each_row_stands(selected):
    whole, _, found, rows = selected("all_birds", duplicates="exact")
    by_name = {task.name: Store(task.store()) for task in whole.tasks}
    for row in rows:
        assert by_name[row["task"]].id(row["index"]) == row["id"]
        assert by_name[row["with"]["task"]].id(row["with"]["index"]) == row["with"]["id"]
    told = selection.summary(found)
    assert told["left_out"] == {"duplicate": 2} and json.loads(json.dumps(told)) == told
