import itertools
import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, moss, task_from_file
from flan_jax.tasks.examples import examples
from flan_jax.tasks.formats.moss import MossTurns

LONG = {"inputs": None, "targets": None}
PLAIN = {
    "Human": "<|Human|>: What is\n2 + 2?<eoh>\n",
    "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
    "Commands": "<|Commands|>: None<eoc>\n",
    "Tool Responses": "<|Results|>:\nNone\n<eor>\n",
    "MOSS": "<|MOSS|>: 4<eom>\n",
}
ASKED = {
    **PLAIN,
    "Inner Thoughts": "<|Inner Thoughts|>: I should count.<eot>\n",
    "Commands": '<|Commands|>: Calculate("2+2")<eoc>\n',
    "Tool Responses": '<|Results|>:\nCalculate("2+2") =>\n4\n<eor>\n',
}


def test_turns_are_ordered_by_their_numbers_and_lose_their_marks():
    turns = {f"turn_{n}": {**PLAIN, "MOSS": f"<|MOSS|>: {n}<eom>\n"} for n in (10, 2, 1)}
    found = MossTurns()({"meta_instruction": "You are MOSS.\n", "chat": turns})["messages"]
    assert [one["content"] for one in found] == [
        "You are MOSS.",
        *["What is\n2 + 2?", "1"],
        *["What is\n2 + 2?", "2"],
    ] + [
        "What is\n2 + 2?",
        "10",
    ]
    assert [one["role"] for one in found] == ["system", *["user", "assistant"] * 3]
    assert MossTurns(meta_instruction=False)({"meta_instruction": "x", "chat": turns})["messages"] == found[1:]


def test_a_call_is_the_assistants_and_its_result_a_tools(tmp_path, model):
    (tmp_path / "m.jsonl").write_text(json.dumps({"conversation_id": 1, "chat": {"turn_1": ASKED}}) + "\n")
    messages = MossTurns()({"chat": {"turn_1": ASKED}})["messages"]
    assert messages[1]["content"][0] == {"type": "thinking", "thinking": "I should count."}
    task_from_file(tmp_path / "m.jsonl", "m", vocabulary=model).register()
    (one,) = examples("m", "train", LONG)
    assert one.inputs_text == "User: What is\n2 + 2?\nAssistant:"
    assert one.targets_text == 'Calculate("2+2")\nTool: Calculate("2+2") =>\n4\nAssistant: 4'


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"chat": []}, r"m.jsonl:2: the field 'chat' is \[\]; turns by number are wanted"),
        ({"chat": {"turn_one": PLAIN}}, "m.jsonl:2: the turn 'turn_one' has no number; 'turn_1'"),
        ({"chat": {"turn_1": "hello"}}, "m.jsonl:2: turn_1 is 'hello'; an object with 'Human' and 'MOSS' is wanted"),
        ({"chat": {"turn_1": {**PLAIN, "Human": 3}}}, "m.jsonl:2: 'Human' is 3; text is wanted"),
        ({"chat": {"turn_1": {"MOSS": "4"}}}, r"m.jsonl:2: the user says nothing \(message 1\)"),
    ],
)
def test_bad_rows_are_told(tmp_path, model, row, fault):
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps({"chat": {"turn_1": PLAIN}}) + "\n" + json.dumps(row) + "\n")
    moss(path, "m", vocabulary=model).register()
    with pytest.raises(UserError, match=fault):
        list(examples("m", "train", LONG))
    tally = Tally()
    assert len(list(examples("m", "train", LONG, on_bad_row="skip", tally=tally))) == 1 and tally.bad_rows == 1


@pytest.mark.parametrize(("name", "rows", "calls"), [("with_plugins", 75, True), ("without_plugins", 162, False)])
def test_real_files(data, model, name, rows, calls):
    path = data / f"chat/moss_{name}.jsonl"
    task_from_file(path, "m", vocabulary=model).register()
    found = list(examples("m", "train", LONG))
    assert len(found) == rows and all(one.inputs_text.startswith("System: You are an AI assistant") for one in found)
    texts = [one.inputs_text + one.targets_text for one in found]
    marks = ("<eo", "<|Human", "<|MOSS", "<|Inner", "<|Comm", "<|Res")
    assert not [(mark, text) for mark, text in itertools.product(marks, texts) if mark in text]
    assert any("\nTool: " in text for text in texts) == calls
