import re

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, task_from_file, unnatural_instructions
from flan_jax.tasks.examples import describe, examples


def instance(given="red plum", output="plum red", constraints="None.", said="Turn the words round."):
    whole = f"{said}\n{given}".strip()
    return {"instruction_with_input": whole, "input": given, "constraints": constraints, "output": output}


def reworded(pattern, given="red plum", output="plum red", whole=None):
    whole = pattern.replace("{INPUT}", given) if whole is None else whole
    return {"instruction": pattern, "instruction_with_input": whole, "input": given, "output": output}


def row(*instances, others=None, said="Turn the words round."):
    found = {"instruction": said, "instances": list(instances)}
    return found if others is None else {**found, "reformulations": others}


OTHERS = [
    reworded("Say {INPUT} backwards."),
    reworded("{INPUT}"),
    reworded("Take {A} and {INPUT}."),
    reworded("{INPUT} Begin at its end:"),
    None,
    reworded("Never {INPUT}", output=None),
]


def test_constraints_are_shown_where_there_are_any(write, texts, model):
    rows = [row(instance()), row(instance("a b", "b a", "Two letters.")), row(instance("", "x", "None"))]
    task = unnatural_instructions(write("core.jsonl", *rows), "t", vocabulary=model)
    assert texts(task) == [
        ("Turn the words round.\nred plum", "plum red"),
        ("Turn the words round.\na b\nConstraints: Two letters.", "b a"),
        ("Turn the words round.", "x"),
    ]
    bare = unnatural_instructions(write("core.jsonl", *rows), "bare", constraints=False, vocabulary=model)
    assert texts(bare)[1] == ("Turn the words round.\na b", "b a")


def test_every_instance_is_an_example_and_every_sound_reformulation_by_choice(write, texts, model):
    path = write("full.jsonl", row(instance(), instance("a b", "b a"), others=OTHERS))
    tally = Tally()
    found = texts(unnatural_instructions(path, "all", reformulations="all", vocabulary=model), tally)
    assert found == [
        ("Turn the words round.\nred plum", "plum red"),
        ("Turn the words round.\na b", "b a"),
        ("Say red plum backwards.", "plum red"),
        ("red plum Begin at its end:", "plum red"),
    ]
    assert (tally.read, tally.dropped) == (7, 3)  # the null is no reformulation at all
    ids = [one.id for one in examples("all", "train", {"inputs": None, "targets": None})]
    assert ids == ["full:0#0", "full:0#1", "full:0#2", "full:0#5"]


def test_one_wording_is_drawn_for_each_example_in_each_pass(write, texts, model):
    path = write("full.jsonl", *[row(instance(), instance("a b", "b a"), others=OTHERS)] * 40)
    task = unnatural_instructions(path, "drawn", reformulations="drawn", vocabulary=model)
    first, again, other = texts(task), texts(task), texts(task, draw=1)
    assert first == again != other and len(first) == 80 and describe("drawn")["random"]
    assert {text for text, answer in first if answer == "plum red"} == {
        "Turn the words round.\nred plum",
        "Say red plum backwards.",
        "red plum Begin at its end:",
    }
    assert [answer for _, answer in first] == ["plum red", "b a"] * 40
    assert {text for text, answer in first if answer == "b a"} == {"Turn the words round.\na b"}
    core = unnatural_instructions(
        write("core.jsonl", row(instance())), "core", reformulations="drawn", vocabulary=model
    )
    assert texts(core) == [("Turn the words round.\nred plum", "plum red")]


def test_only_the_input_is_cut(write, model):
    long = "plum and " * 40
    path = write("f.jsonl", row(instance(long, "x", "One word."), others=[reworded("Say {INPUT} backwards.", long)]))
    unnatural_instructions(path, "t", reformulations="all", vocabulary=model).register()
    first, second = examples("t", "train", {"inputs": 50, "targets": 8})
    assert re.fullmatch(r"Turn the words round\.\n(plum and ?)+\nConstraints: One word\.", first.inputs_text)
    assert re.fullmatch(r"Say (plum and ?)+( plum)? backwards\.", second.inputs_text) and second.cut_tokens


def test_rows_as_tfds_has_them(write, texts, model):
    turned = {key: [value] for key, value in instance().items()}
    reformulations = {key: [value] for key, value in OTHERS[0].items()}
    path = write("t.jsonl", {"id": "1", "instruction": "", "instances": turned, "reformulations": reformulations})
    found = texts(task_from_file(path, "file", vocabulary=model))
    assert found == [("Turn the words round.\nred plum", "plum red")]
    assert texts(unnatural_instructions(path, "all", reformulations="all", vocabulary=model)) == [
        *found,
        ("Say red plum backwards.", "plum red"),
    ]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"instruction": "Go.", "instances": []}, "the column 'instances' is empty; one instance"),
        ({"instruction": "Go.", "instances": "none"}, "the column 'instances' is 'none'; a list of objects is wanted"),
        ({"instruction": "Go."}, "there is no column 'instances', the row has instruction"),
        (row({**instance(), "output": None}), "the column 'output' is None; text is wanted"),
        (row({"input": "a", "output": "b"}, said=None), "the column 'instruction' is empty"),
    ],
)
def test_bad_rows_are_told_with_file_row_and_field(write, texts, model, bad, said):
    path = write("core.jsonl", row(instance()), bad)
    task = unnatural_instructions(path, "t", vocabulary=model)
    with pytest.raises(UserError, match=r"core\.jsonl:2: " + said):
        texts(task)
    tally = Tally()
    assert len(texts(task, tally, on_bad_row="skip")) == 1 and tally.bad_rows == 1


def test_an_unknown_choice_is_told(write):
    with pytest.raises(UserError, match="reformulations='drwan'; it is none, all or drawn; did you mean 'drawn'"):
        unnatural_instructions(write("core.jsonl", row(instance())), "t", reformulations="drwan")


@pytest.mark.parametrize(("how", "read", "dropped"), [("none", 10, 0), ("all", 28, 2), ("drawn", 10, 0)])
def test_real_files(data, texts, model, how, read, dropped):
    tally = Tally()
    path = str(data / "unnatural_instructions/full_data_sample.jsonl")
    found = texts(unnatural_instructions(path, "t", reformulations=how, vocabulary=model), tally)
    assert (tally.read, tally.kept, tally.dropped) == (read, read - dropped, dropped)
    assert all(text and answer and "{INPUT}" not in text and "None." not in text for text, answer in found)
