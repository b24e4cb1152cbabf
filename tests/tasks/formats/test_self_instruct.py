import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, self_instruct, task_from_file
from flan_jax.tasks.examples import examples

# As the paper's code lays them out (prepare_for_finetuning.py), written down by hand for "Add." and "1, 2".
WITH_INPUT = {
    ("Add.\nInput: 1, 2\nOutput:", " 3"),
    ("Add.\n\nInput: 1, 2\n\nOutput:", " 3"),
    ("Task: Add.\nInput: 1, 2\nOutput:", " 3"),
    ("Add.\n\n1, 2\n\nOutput:", " 3"),
    ("Add.\n\n1, 2\n\n", "3"),
    ("Add.\n1, 2\n\n", "3"),
    ("Task: Add.\n\n1, 2\n\n", "3"),
}
WITHOUT_INPUT = {
    ("Greet. Output:", " Hello"),
    ("Greet.\nOutput:", " Hello"),
    ("Greet.\n\nOutput:", " Hello"),
    ("Greet.\n", "Hello"),
    ("Greet.\n\n", "Hello"),
    ("Task: Greet.\n\n", "Hello"),
}
ADD = {"instruction": " Add. ", "input": "1, 2", "output": "3 "}
GREET = {"instruction": "Greet.", "input": "", "output": "Hello"}


def test_each_example_has_one_of_the_published_layouts_drawn_in_each_pass(write, texts, model):
    task = self_instruct(write("all.jsonl", *[ADD] * 120, *[GREET] * 120), "t", vocabulary=model)
    found = texts(task)
    assert set(found[:120]) == WITH_INPUT and set(found[120:]) == WITHOUT_INPUT
    counts = [found.count(layout) for layout in (*WITH_INPUT, *WITHOUT_INPUT)]
    assert min(counts) > 5 and texts(task, draw=1) != found == texts(task)


def test_every_template_that_suits_a_row_words_it_where_each_is_wanted(write, model):
    self_instruct(write("all.jsonl", ADD, GREET), "t", vocabulary=model).register()
    found = list(examples("t", "train", {"inputs": None, "targets": None}, each_template=True))
    assert len(found) == 13 and len({one.id for one in found}) == 13
    assert {(one.inputs_text, one.targets_text) for one in found} == WITH_INPUT | WITHOUT_INPUT


def test_seed_tasks_have_several_instances(write, texts, model):
    instances = [{"input": "1, 2", "output": "3"}, {"input": "4", "output": 4}, {"input": None, "output": ""}]
    seed = {"id": "seed_1", "instruction": "Add.", "instances": instances, "is_classification": False}
    tally = Tally()
    task = self_instruct(write("seed.jsonl", seed, seed), "t", layouts="plain", vocabulary=model)
    assert texts(task, tally) == [("Add.\n\n1, 2", "3"), ("Add.\n\n4", "4")] * 2 and tally.dropped == 2
    assert task_from_file(write("seed.jsonl", seed), "u").templates != task.templates  # the published ones


def cut_off(raw):
    return {"raw_instances": raw, "instance_metadata": {"response": {"choices": [{"finish_reason": "length"}]}}}


@pytest.mark.parametrize(
    ("raw", "found", "dropped"),
    [
        ("Example 1\nInput: 1, 2\nOutput: 3\nExample 2\nList: [4]\nOutput:\n4\n\n", ["1, 2|3", "List: [4]|4"], 0),
        ("Output: 7\n", ["|7"], 0),
        ("Input: a\nOutput: b\nInput: c\nOutput: d", ["a|b"], 0),
        (
            "Class label: Spam\nEmail: Win!\nClass label: Not spam\nEmail: Hi",
            ["Email: Win!|Spam", "Email: Hi|Not spam"],
            0,
        ),
        ("Class label: Yes\nList: a\nClass label: No\nList: a", [], 2),  # contradicts itself
        ("Example 1\nInput: a\nOutput: a\nExample 2\nOutput: next:\nExample 3\nno mark at all", [], 2),
        ("Output: 7\nExample 2\nOutput: 7", ["|7"], 1),
        (cut_off("Class label: Yes\nWord: a\nClass label: No\nWord: b"), ["Word: a|Yes"], 0),
        ("Word: Example 5 of it\nOutput: yes", ["Word: Example 5 of it|yes"], 0),
    ],
)
def test_what_a_model_wrote_is_told_apart_where_it_can_be(write, texts, model, raw, found, dropped):
    more = raw if isinstance(raw, dict) else {"raw_instances": raw, "instance_metadata": {}}
    path, tally = write("machine.jsonl", {"instruction": "Do it.", **more}), Tally()
    task = self_instruct(path, "t", layouts="plain", vocabulary=model)
    wanted = [
        ("Do it." + f"\n\n{given}" * bool(given), output) for given, _, output in (one.partition("|") for one in found)
    ]
    assert texts(task, tally) == wanted and tally.dropped == dropped


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"instruction": "Do it.", "raw_instances": "Sure, here it is."}, "neither 'Output:' nor 'Class label:'"),
        ({"instruction": "Do it.", "raw_instances": None}, "the column 'raw_instances' is None; text is wanted"),
        ({"instruction": " ", "instances": [GREET]}, "the column 'instruction' is empty"),
        ({"instruction": "Go.", "instances": []}, "the column 'instances' is empty"),
        ({"instruction": "Go.", "input": "x"}, "there is no column 'output', the row has instruction, input"),
        ({"instruction": "Go.", "instances": [{"input": "a", "output": {"b": 1}}]}, r"'output' is \{'b': 1\}; text"),
    ],
)
def test_bad_rows_are_told_with_file_row_and_field(write, texts, model, bad, said):
    task = self_instruct(write("some.jsonl", ADD, bad), "t", vocabulary=model)
    with pytest.raises(UserError, match=r"some\.jsonl:2: .*" + said):
        texts(task)
    tally = Tally()
    assert len(texts(task, tally, on_bad_row="skip")) == 1 and tally.bad_rows == 1


def test_unknown_layouts_are_told(write):
    with pytest.raises(UserError, match="layouts='plane'; it is published or plain; did you mean 'plain'"):
        self_instruct(write("all.jsonl", ADD), "t", layouts="plane")


@pytest.mark.parametrize(
    ("name", "kept", "dropped"),
    [
        ("seed_tasks.jsonl", 175, 0),
        ("user_oriented_instructions.jsonl", 139, 0),
        ("all_generated_instances.jsonl", 162, 0),
        ("machine_generated_instances.jsonl.gz", 25, 12),
    ],
)
def test_real_files(data, texts, model, name, kept, dropped):
    tally = Tally()
    found = texts(self_instruct(str(data / "self_instruct" / name), "t", vocabulary=model), tally)
    assert (tally.kept, tally.dropped, tally.bad_rows) == (kept, dropped, 0) and len(found) == kept
