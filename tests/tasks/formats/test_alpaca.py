import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, InstructionTask, Tally, Template, alpaca, task_from_file
from flan_jax.tasks.examples import examples
from flan_jax.tasks.formats.alpaca import Alpaca

ROW = {"instruction": "Add.", "input": "1, 2", "output": "3"}
BARE = {"instruction": "Greet.", "input": "", "output": "Hello"}


@pytest.mark.parametrize("nothing", ["", "Noinput", "No input.", "< noinput >", "N/A", "None", None, float("nan")])
def test_inputs_that_say_there_is_none(write, texts, model, nothing):
    assert texts(alpaca(write("a.json", {**BARE, "input": nothing}), "t", vocabulary=model)) == [("Greet.", "Hello")]


def test_inputs_that_only_look_empty_are_kept(write, texts, model):
    rows = [{**ROW, "input": given} for given in ("?", "无", "None of them came.", 0, 1.5)]
    found = texts(alpaca(write("a.json", *rows), "t", vocabulary=model))
    assert [text for text, _ in found] == [
        f"Add.\n\n{given}" for given in ("?", "无", "None of them came.", "0", "1.5")
    ]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        ({"instruction": "Add.", "context": "1, 2", "response": "3", "category": "math"}, "Add.\n\n1, 2"),  # Dolly
        ({"output": "3", "instruction": "Add 1 and 2."}, "Add 1 and 2."),  # WizardLM
        ({"text": "…", **ROW}, "Add.\n\n1, 2"),  # the hub's copy
        ({"question": "1 + 2?", "response": "3"}, "1 + 2?"),
    ],
)
def test_descendants_are_told_by_their_columns(write, texts, model, row, prompt):
    task = task_from_file(write("a.jsonl", row), "t", vocabulary=model)
    assert isinstance(task, InstructionTask) and texts(task) == [(prompt, "3")]


def test_the_layout_is_an_argument(write, texts, model):
    path = write("a.json", ROW, BARE)
    assert texts(alpaca(path, "sections", layout="sections", vocabulary=model)) == [
        ("== Task ==\nAdd.\n\n== Given ==\n1, 2\n\n== Reply ==\n", "3"),
        ("== Task ==\nGreet.\n\n== Reply ==\n", "Hello"),
    ]
    own = (
        Template("{input} -> {instruction}", "{output}", given="input"),
        Template("{instruction}!", "{output}", lacking="input"),
    )
    assert texts(alpaca(path, "own", layout=own, vocabulary=model)) == [("1, 2 -> Add.", "3"), ("Greet.!", "Hello")]
    with pytest.raises(UserError, match="layout='section'; it is plain or sections; did you mean 'sections'"):
        alpaca(path, "t", layout="section")
    with pytest.raises(UserError, match="as_chat=True writes rows as conversations.*leave layout out"):
        alpaca(path, "t", layout="sections", as_chat=True)


HISTORY = [["Square of 2?", "4"], ["Of 3?", "9"]]


def test_a_system_prompt_and_earlier_exchanges_make_a_conversation(write, texts, model):
    row = {"instruction": "Of 4?", "input": "", "output": "16", "system": "Be brief.", "history": HISTORY}
    rows = [row, {**ROW, "system": "", "history": None}, {**row, "output": ""}]
    task, tally = task_from_file(write("a.json", *rows), "t", vocabulary=model), Tally()
    assert isinstance(task, ChatTask)
    assert texts(task, tally) == [
        (
            "System: Be brief.\nUser: Square of 2?\nAssistant:",
            "4\nUser: Of 3?\nAssistant: 9\nUser: Of 4?\nAssistant: 16",
        ),
        ("User: Add.\n\n1, 2\nAssistant:", "3"),
    ]
    assert tally.dropped == 1
    orca = {"id": "cot.1", "system_prompt": "Be brief.", "question": "Of 4?", "response": "16"}
    found = texts(task_from_file(write("o.jsonl", orca), "o", vocabulary=model))
    assert found == [("System: Be brief.\nUser: Of 4?\nAssistant:", "16")]
    plain = alpaca(write("o.jsonl", orca), "p", vocabulary=model)
    assert texts(plain) == [("Be brief.\n\nOf 4?", "16")]


def test_of_several_right_outputs_one_is_learnt_and_all_count(write, model):
    path = write("a.json", *[{**ROW, "output": ["3", "", "three"]}] * 20, {**ROW, "output": []})
    alpaca(path, "t", vocabulary=model).register()
    tally = Tally()
    found = list(examples("t", "train", {"inputs": None, "targets": None}, tally=tally))
    assert {one.targets_text for one in found} == {"3", "three"} and tally.dropped == 1
    assert {one.references for one in found} == {("3", "three")}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({**ROW, "instruction": None}, "the column 'instruction' is None; text is wanted"),
        ({**ROW, "instruction": " "}, "the column 'instruction' is empty"),
        ({"instruction": "Go."}, "there is no column 'output', the row has instruction"),
        ({**ROW, "output": float("nan")}, "the column 'output' is nan"),
        ({**ROW, "output": ["3", None]}, "the column 'output' is None"),
        ({**ROW, "history": HISTORY}, r"'history' has 2 earlier exchanges.*alpaca\(as_chat=True\)"),
        ({**ROW, "history": "4"}, r"'history' is '4'; a list of \[question, answer\]"),
        ({**ROW, "history": [["4"]]}, r"'history' holds \['4'\]; \[question, answer\] is wanted"),
    ],
)
def test_bad_rows_are_told_with_file_row_and_field(write, texts, model, bad, said):
    task = alpaca(write("a.jsonl", ROW, bad, ROW), "t", vocabulary=model)
    with pytest.raises(UserError, match=r"a\.jsonl:2: .*" + said):
        texts(task)
    tally = Tally()
    assert len(texts(task, tally, on_bad_row="skip")) == 2 and tally.bad_rows == 1


def test_real_files(data):
    counted = {}
    for name in ("alpaca_data", "alpaca_gpt4_en", "alpaca_gpt4_zh"):
        rows = json.loads((data / f"alpaca/{name}_sample.json").read_text())
        made = [Alpaca()(row) for row in rows]
        assert not any("noinput" in one["input"].lower().replace(" ", "") for one in made if len(one["input"]) < 20)
        empty = sum(not row["input"] for row in rows)
        counted[name] = (sum(not one["input"] for one in made) - empty, sum(not one["output"] for one in made))
    # Inputs that say in words that there is none, and outputs that are none.
    assert counted == {"alpaca_data": (40, 2), "alpaca_gpt4_en": (6, 0), "alpaca_gpt4_zh": (0, 0)}
