"""What rows say is the same however they are worded, and each thing that is made of a row says its own."""

import json

import pytest

from flan_jax.data.hygiene.contents import _said
from flan_jax.tasks import ChatTask, InstructionTask, SpanCorruption, generator, super_natural_instructions
from flan_jax.tasks.examples import contents, examples

LONG = {"inputs": None, "targets": None}


def said(task, split="train"):
    return [(one.id, one.prompt, one.answer, one.instruction) for one in contents(task, split)]


def rows(*given):
    return generator(lambda split: iter(given))


def test_a_row_says_the_same_under_any_template_and_an_inversion_the_other_way_round(model):
    InstructionTask(
        "dishes",
        rows({"dish": "borscht", "land": "Ukraine"}),
        templates=("Whence is {dish}?", "{dish}: which land?"),
        inverted_templates=(("Name a dish of {land}.", "{dish}"),),
        answer="land",
        few_shot=(1,),
        vocabulary=model,
    ).register()
    assert said("dishes") == said("dishes.1_shot") == [("train:0", "borscht", "Ukraine", "")]
    assert said("dishes.inverted") == [("train:0", "Ukraine", "borscht", "")]


def test_each_of_several_things_of_a_row_says_its_own_under_the_id_of_its_examples(model):
    """So are the paths of a tree and the instances of an instruction; a text that is cut stays one."""
    pairs = lambda row: [{"ask": ask, "say": ask.upper()} for ask in row["asks"]]
    source = rows({"asks": ["one", "two"]}, {"asks": ["three"]}, {"asks": []})
    InstructionTask("pairs", source, ("{ask}",), preprocess=pairs, answer="say", vocabulary=model).register()
    assert [one[:3] for one in said("pairs")] == [
        ("train:0#0", "one", "ONE"),
        ("train:0#1", "two", "TWO"),
        ("train:1", "three", "THREE"),
    ]
    assert [one.id for one in examples("pairs", "train", LONG)] == [one[0] for one in said("pairs")]
    turns = lambda *texts: [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, texts)]  # noqa: B905
    talks = lambda row: [{"messages": one} for one in row["talks"]]
    source = rows({"talks": [turns("hi", "hello"), turns("why", "so", "and", "no")]})
    ChatTask("talks", source, preprocess=talks, each_turn=True, vocabulary=model).register()
    assert [one[:3] for one in said("talks")] == [("train:0#0", "hi", "hello"), ("train:0#1", "why", "so\nand\nno")]
    ids = [one.id for one in examples("talks", "train", LONG)]
    assert ids == ["train:0#0", "train:0#1#0", "train:0#1#1"]
    whole = list(_said("train:0", 7, ids, contents("talks", "train")))
    assert [(one.id, one.first, one.count, one.prompt) for one in whole] == [
        ("train:0#0", 7, 1, "hi"),
        ("train:0#1", 8, 2, "why"),
    ]
    SpanCorruption("texts", rows({"text": "a b " * 400}), vocabulary=model).register()
    ids = [one.id for one in examples("texts", "train", {"inputs": 64, "targets": 64})]
    ((only),) = _said("train:0", 0, ids, contents("texts", "train"))
    assert (only.id, only.count) == ("train:0", len(ids)) and len(ids) > 2 and only.known


@pytest.mark.parametrize("name", ["super", "super.definition", "super.negative"])
def test_an_instruction_that_rows_bring_along_is_told_apart_from_what_they_say(tmp_path, model, name):
    head = {"Definition": ["Name the dish"], "Categories": ["Food"]}
    examples_ = {
        "Positive Examples": [{"input": "Italy", "output": "pizza", "explanation": ""}],
        "Negative Examples": [],
    }
    instances = [{"id": "a", "input": "Ukraine", "output": ["borscht", "varenyky"]}]
    (tmp_path / "task1_dish.json").write_text(json.dumps({**head, **examples_, "Instances": instances}))
    super_natural_instructions(tmp_path / "task1_dish.json", "super", validation_rows=0, vocabulary=model).register()
    ((_, prompt, answer, instruction),) = said(name)
    assert (prompt, answer) == ("Ukraine.", "borscht\nvarenyky")
    assert "Name the dish" in instruction and "pizza" not in prompt + instruction
