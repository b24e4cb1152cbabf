import gzip
import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, dialogues, task_from_file
from flan_jax.tasks.examples import examples

LONG = {"inputs": None, "targets": None}
USUAL = [("user", "a"), ("assistant", "b")]


def turns(*said, speaker="speaker", text="text"):
    return [{speaker: who, text: what, "index": n} for n, (who, what) in enumerate(said)]


def read(task, **how):
    task.register()
    return [(one.inputs_text, one.targets_text) for one in examples(task.name, "train", LONG, **how)]


@pytest.mark.parametrize(
    ("said", "column", "speaker", "text"),
    [
        ((("user", "a"), ("assistant", "b")), "utterances", "speaker", "text"),
        ((("USER", "a "), ("SYSTEM", "b")), "turns", "speaker", "utterance"),
        ((("agent_1", "a"), ("agent_2", "b"), ("agent_1", "c")), "content", "agent", "message"),
    ],
)
def test_each_layout_is_known_by_its_columns(tmp_path, model, said, column, speaker, text):
    path = tmp_path / "d.json.gz"
    path.write_bytes(gzip.compress(json.dumps([{column: turns(*said, speaker=speaker, text=text)}]).encode()))
    assert read(task_from_file(path, "known", vocabulary=model)) == [("User: a\nAssistant:", "b")]
    named = dialogues(path, "named", turns=column, speaker=speaker, said=text, vocabulary=model)
    assert read(named) == [("User: a\nAssistant:", "b")]


def test_the_other_side_may_be_the_assistant_and_turns_on_end_are_one(tmp_path, model):
    said = [("ANN", "a"), ("BOB", " "), ("ANN", "b"), ("BOB", "c"), ("BOB", "d"), ("ANN", "e"), ("BOB", "")]
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"about": "Be kind.", "turns": turns(*said)}) + "\n")
    task = dialogues(path, "bob", said="text", assistant="bob", system="about", vocabulary=model)
    assert read(task) == [("System: Be kind.\nUser: a\nb\nAssistant:", "c\nd")]
    # The assistant speaks first: shown, not learnt.
    task = dialogues(path, "ann", said="text", assistant=("carl", "ann"), vocabulary=model).register()
    (one,) = examples("ann", "train", LONG)
    assert (one.inputs_text, one.targets_text) == ("Assistant: a\nb\nUser: c\nd\nAssistant:", "e")


def test_a_file_that_is_one_object_of_dialogues_is_read_one_by_one(tmp_path, model):
    rows = {f"t_{n}": {"config": "A", "content": turns(*USUAL, speaker="agent", text="message")} for n in range(3)}
    for name, indent in (("lines", 1), ("line", None)):
        (tmp_path / f"{name}.json").write_text(json.dumps(rows, indent=indent))
        assert len(read(task_from_file(tmp_path / f"{name}.json", name, vocabulary=model))) == 3


def test_lines_that_hold_objects_are_no_such_file(tmp_path, model):
    talk = {"role": ["user", "assistant"], "content": ["a", "b"]}
    (tmp_path / "r.jsonl").write_text((json.dumps({"messages": talk, "other": {"role": "x"}}) + "\n") * 2)
    assert len(read(task_from_file(tmp_path / "r.jsonl", "r", vocabulary=model))) == 2
    for text in ("{}", '{"a": {"d": 1}, "b": {"e": 1}}', '{"a": [], "b": {}}'):
        (tmp_path / "o.json").write_text(text)
        with pytest.raises(UserError, match="the columns a, b, which are of no format|the columns , which"):
            task_from_file(tmp_path / "o.json", "o")


@pytest.mark.parametrize(
    ("held", "fault"),
    [
        ({"turns": "a"}, r"d.jsonl:2: the field 'turns' is 'a'; a list of turns is wanted"),
        ({"turns": ["a"]}, "turn 1 is 'a'; an object with 'speaker' and 'text' is wanted"),
        ({"turns": [*turns(*USUAL), {"speaker": "user"}]}, "in turn 3 there is no column 'text', the row has speaker"),
        ({"turns": turns(("user", None))}, "in turn 1 the column 'text' is None; text is wanted"),
        (
            {"turns": turns(("asistant", "a"), ("user", "b"))},
            r"none of its speakers \(asistant, user\) is the assistant.*did you mean 'asistant'\?; name another \(dial",
        ),
    ],
)
def test_bad_rows_are_told(tmp_path, model, held, fault):
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"turns": turns(*USUAL)}) + "\n" + json.dumps(held) + "\n")
    task = dialogues(path, "d", said="text", vocabulary=model)
    with pytest.raises(UserError, match=fault):
        read(task)
    tally = Tally()
    assert len(read(task, on_bad_row="skip", tally=tally)) == 1 and tally.bad_rows == 1


@pytest.mark.parametrize(
    ("name", "column", "text", "assistant", "rows"),
    [
        ("topical_chat_valid_rare_sample", "content", "message", "agent_2", 150),
        ("sgd_dialogues_sample", "turns", "utterance", "SYSTEM", 60),
        ("taskmaster4_sample", "utterances", "text", "assistant", 140),
    ],
)
def test_real_files(data, model, name, column, text, assistant, rows):
    path = data / f"chat/{name}.json.gz"
    task_from_file(path, "real", vocabulary=model).register()
    tally = Tally()
    found = list(examples("real", "train", LONG, tally=tally))
    assert tally == Tally(read=rows, kept=rows)
    whole = json.loads(gzip.decompress(path.read_bytes()))
    for one, row in zip(found, whole.values() if isinstance(whole, dict) else whole, strict=True):
        answers = [turn[text].strip() for turn in row[column] if assistant in turn.values()]
        first = one.targets_text.partition("\nUser: ")[0]
        assert first == answers[0] and one.targets_text.endswith(answers[-1])
        assert one.targets_text.count("\nAssistant: ") == len(answers) - 1
