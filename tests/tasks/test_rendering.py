"""How a row becomes examples: several of one row, templates for some rows only, one of several wordings."""

import collections
import dataclasses

import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import InstructionTask, Tally, Template, generator, registry
from flan_jax.tasks.examples import describe, examples, fingerprint
from flan_jax.tasks.sources.source import plain

LENGTHS = {"inputs": 64, "targets": 16}


def parts(row):
    """An example of each word; a word "bad" lacks its answer, "empty" has an empty one."""
    answers = {"bad": {}, "empty": {"answer": ""}}
    return [{"word": word, **answers.get(word, {"answer": word[0]})} for word in row["words"]]


def declare(model, rows, **fields):
    how = {"templates": ("First letter of {word}?",), "preprocess": parts, "vocabulary": model}
    return InstructionTask("t", generator(lambda split: plain(rows)), **how | fields).register()


def test_a_row_gives_an_example_of_each_of_its_parts(model):
    rows = [{"words": ["plum", "bad", "empty", "pear"]}, {"words": []}, {"words": ["fig"]}]
    declare(model, rows)
    tally = Tally()
    found = list(examples("t", "train", LENGTHS, tally=tally, on_bad_row="skip"))
    assert [(one.inputs_text, one.targets_text) for one in found] == [
        ("First letter of plum?", "p"),
        ("First letter of pear?", "p"),
        ("First letter of fig?", "f"),
    ]
    ids = [one.id for one in found]
    assert ids[0].endswith("#0") and ids[1] == ids[0].replace("#0", "#3")
    assert "#" not in ids[2]  # the only example of its row
    assert tally == Tally(read=6, kept=3, bad_rows=1, dropped=2)
    wanted = {ids[1].partition("#")[0]}
    assert [one.id for one in examples("t", "train", LENGTHS, only=wanted, on_bad_row="skip")] == ids[:2]
    with pytest.raises(UserError, match=r"Task 't', .*: there is no field 'answer' for the answer, the row has word"):
        list(examples("t", "train", LENGTHS))


def test_a_list_of_anything_else_than_rows_is_told(model):
    declare(model, [{"words": ["plum"]}], preprocess=lambda row: row["words"])
    with pytest.raises(UserError, match="its preprocess function gave a list that holds 'plum'; rows are wanted"):
        list(examples("t", "train", LENGTHS))


def test_exemplars_come_from_rows_of_several_parts_too(model):
    rows = [{"words": [f"{one}{other}" for other in "xyz"]} for one in "abc"]
    declare(model, rows, few_shot=(2,))
    for one in examples("t.2_shot", "train", {"inputs": None, "targets": None}):
        own = one.inputs_text.rpartition("First letter of ")[2][0]
        shown = [text[0] for text in one.inputs_text.split("First letter of ")[1:-1]]
        assert len(shown) == 2 and own not in shown  # not of its own row


def test_templates_suit_rows_by_what_these_have(model):
    templates = (
        Template("With {hint}: {word}", given="hint"),
        Template("Hint {hint} for {word}", given="hint"),
        Template("Bare {word}", lacking="hint"),
    )
    rows = [{"word": "plum", "hint": "blue", "answer": "p"}, {"word": "fig", "hint": "", "answer": "f"}] * 60
    declare(model, [*rows, {"word": "kiwi", "answer": "k"}], templates=templates, preprocess=None)
    found = [one.inputs_text for one in examples("t", "train", LENGTHS)]
    assert set(found) == {"With blue: plum", "Hint blue for plum", "Bare fig", "Bare kiwi"}
    assert 15 < found.count("With blue: plum") < 45
    each = [one.template for one in examples("t", "train", LENGTHS, each_template=True)]
    assert each == [0, 1, 2] * 60 + [2]


def test_a_row_that_no_template_suits_is_bad(model):
    rows = [{"word": "fig", "answer": "f"}]
    declare(model, rows, templates=(Template("With {hint}: {word}", given="hint"),), preprocess=None)
    tally = Tally()
    assert not list(examples("t", "train", LENGTHS, tally=tally, on_bad_row="skip")) and tally.bad_rows == 1
    with pytest.raises(UserError, match="no template suits it: each is for rows with, or without, a field"):
        list(examples("t", "train", LENGTHS))


def test_templates_are_drawn_by_weight(model):
    templates = (Template("A {word}", weight=3.0), Template("B {word}"), Template("C {word}", weight=0.5))
    rows = [{"word": "fig", "answer": "f"}] * 900
    declare(model, rows, templates=templates, preprocess=None)
    counts = collections.Counter(one.template for one in examples("t", "train", LENGTHS))
    assert [counts[n] / 900 for n in range(3)] == pytest.approx([3 / 4.5, 1 / 4.5, 0.5 / 4.5], abs=0.05)
    with pytest.raises(UserError, match="has the weight 0; a number above 0 is wanted"):
        InstructionTask("u", generator(lambda split: rows), (Template("A {word}", weight=0),)).register()


def test_one_of_several_wordings_is_drawn_in_each_pass(model):
    texts = {"wordings": ["fig", "the fig"], "answer": "f"}
    fields = {"wordings": [{"wordings": "a fig", "answer": "a"}, {"wordings": "one fig", "answer": "o"}]}
    declare(model, [texts, fields] * 30, templates=("Name {wordings}.",), preprocess=None, wordings="wordings")
    passes = [
        [(one.inputs_text, one.targets_text) for one in examples("t", "train", LENGTHS, draw=draw)]
        for draw in (0, 1, 0)
    ]
    assert passes[0] == passes[2] != passes[1] and describe("t")["random"]
    assert set(passes[0]) == {
        ("Name fig.", "f"),
        ("Name the fig.", "f"),
        ("Name a fig.", "a"),
        ("Name one fig.", "o"),
    }


def test_wordings_that_are_none_are_told(model):
    declare(model, [{"word": "fig", "answer": "f"}], preprocess=None, wordings="wordings")
    with pytest.raises(UserError, match="the field 'wordings', which holds the wordings, is None; a list is wanted"):
        list(examples("t", "train", LENGTHS))


def test_what_draws_otherwise_is_prepared_anew(model, monkeypatch):
    plain, more = Template("A {word}"), Template("B {word}")
    ways = [(plain, {}), (dataclasses.replace(plain, weight=2.0), {}), (dataclasses.replace(plain, given="word"), {})]
    ways += [(dataclasses.replace(plain, lacking="word"), {}), (plain, {"wordings": "word"})]
    marks = set()
    for template, how in ways:
        monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
        monkeypatch.setattr(registry, "_RECIPES", {})
        declare(model, [], templates=(template, more), **how)
        marks.add(fingerprint("t"))
    assert len(marks) == len(ways)
