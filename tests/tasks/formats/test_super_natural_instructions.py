"""Super-Natural Instructions: Tk-Instruct's layout blank for blank, both schemas, and folders with lists of tasks."""

import json

import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, declared, jsonl, registry, super_natural_instructions, task_folders, task_from_file
from flan_jax.tasks.examples import describe, examples, score, splits
from flan_jax.tasks.formats import instruction_folders
from flan_jax.tasks.formats.files import register_files
from flan_jax.tasks.formats.super_natural_instructions import ENCODINGS

LONG = {"inputs": None, "targets": None}
POSITIVE = [
    {"input": " pear ", "output": "pears", "explanation": "One more s."},
    {"input": "Is it a plum?", "output": "yes", "explanation": "it is"},
    {"input": "river", "output": "rivers"},
]
NEGATIVE = [{"input": "stone", "output": "stone", "explanation": "The same"}, {"input": "a", "output": "b"}]
HEAD = {
    "Categories": ["Fill in The Blank", "Misc."],
    "Definition": [" Say the plural ", "Another wording."],
    "Input_language": ["English"],
    "Output_language": ["English"],
    "Positive Examples": POSITIVE,
    "Negative Examples": NEGATIVE,
}
ROW = {"id": "task195-x", "input": " cloud\n", "output": ["clouds", "clouds", " the clouds", ""]}

DEFINITION = "Definition: Say the plural.\n\n"
PEAR, PLUM = "Input: pear.\n Output: pears.\n", "Input: Is it a plum?\n Output: yes.\n"
TWO = f" Positive Example 1 -\n{PEAR}\n Positive Example 2 -\n{PLUM}\n"
WHY = f" Positive Example 1 -\n{PEAR} Explanation: One more s.\n\n Positive Example 2 -\n{PLUM} Explanation: it is.\n\n"
NOT = " Negative Example 1 -\nInput: stone.\n Output: stone.\n\n Negative Example 2 -\nInput: a.\n Output: b.\n\n"
WHY_NOT = NOT.replace("Output: stone.\n", "Output: stone.\n Explanation: The same.\n")
ASKED = "Now complete the following example -\nInput: cloud.\nOutput: "
GOLDEN = {
    "": DEFINITION + TWO + ASKED,
    ".task_name": "task1_plurals. " + ASKED,
    ".definition": DEFINITION + ASKED,
    ".examples": TWO + ASKED,
    ".one_positive": DEFINITION + f" Positive Example 1 -\n{PEAR}\n" + ASKED,
    ".four_positive": DEFINITION + TWO + " Positive Example 3 -\nInput: river.\n Output: rivers.\n\n" + ASKED,
    ".negative": DEFINITION + TWO + NOT + ASKED,
    ".explanations": DEFINITION + WHY + ASKED,
    ".negative_and_explanations": DEFINITION + WHY + WHY_NOT + ASKED,
}


@pytest.fixture
def write(tmp_path):
    def write(name, rows=(ROW,), **head):
        path = tmp_path / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {**HEAD, "Instances": list(rows), **head}
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
        return str(path)

    return write


def test_every_encoding_is_the_published_layout(write, model):
    super_natural_instructions(write("task1_plurals"), "t", validation_rows=0, vocabulary=model).register()
    assert set(GOLDEN) == {"", *(f".{name}" for name in ENCODINGS)}
    for ending, prompt in GOLDEN.items():
        (one,) = examples(f"t{ending}", "train", LONG)
        assert one.inputs_text == prompt and one.learnt == (one.targets_text,) and one.id == "task1_plurals:0"
    assert one.references == ("clouds", "the clouds")
    said = score("t", "train", ["The clouds were"], LONG)  # the best reference counts
    assert said == {"rougeL": pytest.approx(80.0), "exact_match": 0.0}
    assert score("t", "train", ["The  Clouds!"], LONG) == {"rougeL": 100.0, "exact_match": 100.0}
    about = describe("t.negative")
    assert (about["cluster"], about["metrics"], about["kind"]) == ("fill_in_the_blank", ["super_ni"], "encoding")


def test_another_draw_may_learn_another_answer(write, model):
    task = super_natural_instructions(write("task1_plurals"), "t", validation_rows=0, vocabulary=model).register()
    drawn = {next(examples("t", "train", LONG, draw=draw)).targets_text for draw in range(12)}
    assert drawn == {"clouds", "the clouds"} and describe("t")["random"] and task.draw_answer


def test_examples_are_left_out_one_by_one_then_the_input_is_cut(write, model):
    def read(lengths, name="t.negative", **how):
        tally = Tally()
        return [e.inputs_text for e in examples(name, "train", lengths, tally=tally, **how)], tally

    long_example = {"input": "plum " * 300, "output": "plums"}
    path = write("task1_plurals", **{"Positive Examples": [POSITIVE[0], long_example, POSITIVE[1]]})
    super_natural_instructions(path, "t", validation_rows=0, vocabulary=model).register()
    (one,) = examples("t.negative", "train", LONG)
    # As Tk-Instruct does it: the second positive example does not fit, negative ones do all the same.
    ((shorter,), tally) = read({"inputs": len(one.inputs) - 250, "targets": 9})
    assert shorter == DEFINITION + f" Positive Example 1 -\n{PEAR}\n" + NOT + ASKED
    assert (tally.pruned_exemplars, tally.truncated) == (1, 0)
    # One that would fit is left out behind one that does not.
    (one,) = examples("t.four_positive", "train", LONG)
    ((shorter,), tally) = read({"inputs": len(one.inputs) - 250, "targets": 9}, "t.four_positive")
    assert shorter == GOLDEN[".one_positive"] and tally.pruned_exemplars == 2
    (bare,) = examples("t.definition", "train", LONG)
    ((shorter,), tally) = read({"inputs": len(bare.inputs), "targets": 9})
    assert shorter == bare.inputs_text and (tally.pruned_exemplars, tally.truncated) == (4, 0)
    long = write("task2_plurals", [{"input": "the river and " * 20, "output": "a"}])
    super_natural_instructions(long, "long", validation_rows=0, vocabulary=model).register()
    ((shorter,), tally) = read({"inputs": len(bare.inputs) + 9, "targets": 9}, "long")
    asked, _, rest = shorter.removeprefix(DEFINITION).partition("the river")
    assert asked == "Now complete the following example -\nInput: " and rest.endswith("\nOutput: ") and "and" in rest
    assert (tally.pruned_exemplars, tally.truncated) == (2, 1) and tally.cut_tokens > 20
    assert read({"inputs": 12, "targets": 9}, "long")[1].too_long == 1
    with pytest.raises(UserError, match="its inputs have .* tokens and at most 40"):
        read({"inputs": 40, "targets": 9}, "long", on_long="refuse")


def test_old_schemas_and_answers_in_all_their_forms(write, model):
    old = {"Definition": "Say the plural", "Categories": "Misc.", "Output_language": "Spanish"}
    rows = [
        {"input": "a", "output": "as"},
        {"input": "b", "output": ["", " "]},
        {"input": "c", "output": [3, "", None]},
    ]
    path = write(
        "task171_old",
        rows,
        **old,
        **{"Negative Examples": None, "Positive Examples": [POSITIVE[0] | {"output": ["x", "y"]}]},
    )
    task = super_natural_instructions(path, "t", validation_rows=0, vocabulary=model).register()
    tally = Tally()
    found = list(examples("t", "train", LONG, tally=tally))
    assert [one.references for one in found] == [("as",), ("3",)] and (tally.kept, tally.dropped) == (2, 1)
    assert " Output: x.\n" in found[0].inputs_text and found[0].inputs_text.startswith(DEFINITION)
    assert task.cluster == "misc" and describe("t")["metrics"] == ["super_ni_xlingual"]


@pytest.mark.parametrize(
    ("row", "head", "message"),
    [
        ({"input": "a"}, {}, "instance 1: there is no column 'output'"),
        ({"input": "a", "output": {"b": 1}}, {}, r"output is \{'b': 1\}; a text, or a list of texts, is wanted"),
        ({"input": "a", "output": []}, {}, r"output is \[\]"),
        ({"input": None, "output": "a"}, {}, "the column 'input' is None; text is wanted"),
        (ROW, {"Definition": []}, r"'Definition' is \[\]; a text"),
        (ROW, {"Positive Examples": ["-"]}, "Positive Example 1 is '-'; an object with input and output is wanted"),
        (ROW, {"Positive Examples": {"a": 1}}, "Positive Examples is a dict; a list of examples is wanted"),
    ],
)
def test_bad_rows_are_told_with_their_place(write, model, row, head, message):
    path = write("task1_plurals", [row], **head)
    super_natural_instructions(path, "t", validation_rows=0, vocabulary=model).register()
    with pytest.raises(UserError, match=message):
        list(examples("t", "train", LONG))


def test_rows_of_any_source_that_have_these_fields(tmp_path, model):
    (tmp_path / "a.jsonl").write_text(json.dumps({**HEAD, **ROW}) + "\n")
    super_natural_instructions(jsonl(str(tmp_path / "a.jsonl")), "t", vocabulary=model).register()
    assert next(examples("t", "train", LONG)).inputs_text == GOLDEN[""]
    with pytest.raises(UserError, match="there is no column 'Task'"):
        list(examples("t.task_name", "train", LONG))


@pytest.fixture
def folder(tmp_path, write, monkeypatch):
    """As the official repository lies: three train tasks, one of which is not there, two test tasks, one other."""
    monkeypatch.setattr(task_folders, "_NOTES", {})
    monkeypatch.setattr(task_folders, "_RESTS_ON", {})
    rows = [{"input": str(number), "output": [f"{number} s"]} for number in range(130)]
    for name in ("task1_a-b", "task2_C", "task4_test", "task5_zh", "task6_none"):
        write(f"ni/tasks/{name}", rows, Categories=["Data to Text" if name == "task2_C" else "Misc."])
    lists = {
        "default/train": "task1_a-b\ntask2_C\ntask3_gone\n",
        "default/test": "\ufefftask4_test\r\n",
        "xlingual/test": "task5_zh",
    }
    for name, text in lists.items():
        path = tmp_path / f"ni/splits/{name}_tasks.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "ni"


def members(mixture):
    return [task.name for task in seqio.MixtureRegistry.get(mixture).tasks]


def test_a_folder_is_a_task_a_file_and_mixtures_by_its_lists(folder, model):
    for _ in range(2):  # the second time changes nothing
        super_natural_instructions(folder, vocabulary=model).register()
    assert members("super_ni") == ["super_ni_task1_a_b", "super_ni_task2_C"]
    assert members("super_ni_test") == ["super_ni_task4_test"] and members("super_ni_misc") == ["super_ni_task1_a_b"]
    assert members("super_ni_data_to_text.definition") == ["super_ni_task2_C.definition"]
    assert members("super_ni_xlingual_test.task_name") == ["super_ni_task5_zh.task_name"]
    drawn = {name.partition(".")[2] for name in members("super_ni_misc.drawn_encodings")}
    assert drawn == {"", "definition", "examples", "negative", "explanations"}
    assert "super_ni_xlingual" not in seqio.MixtureRegistry.names()
    assert splits("super_ni_task1_a_b") == ["train"] and splits("super_ni_task4_test") == [
        "train",
        "validation",
        "test",
    ]
    first = [one.id for one in examples("super_ni_task4_test", "test", LONG)]
    assert first == [f"task4_test:{number}" for number in range(100)]  # as published
    train = [one.id for one in examples("super_ni_task1_a_b", "train", LONG)]
    assert len(train) == 100 and train != [f"task1_a-b:{number}" for number in range(100)]
    assert not set(first) & {one.id for one in examples("super_ni_task4_test", "train", LONG)}
    metrics = [describe(f"super_ni_{name}")["metrics"] for name in ("task1_a_b", "task5_zh")]
    assert metrics == [["super_ni"], ["super_ni_xlingual"]]
    assert task_folders.notes("super_ni.definition") == [
        f"super_ni: {folder} has the files of 2 of the 3 tasks of splits/default/train_tasks.txt, 1 left out",
        "super_ni: 1 task in no list, and so in no mixture: task6_none",
    ]
    assert str(folder / "splits/default/train_tasks.txt") in task_folders.rests_on()


def test_a_folder_without_lists_trains_on_all_its_files(tmp_path, write, model):
    rows = [{"input": str(number), "output": "x"} for number in range(12)]
    for name in ("task1", "task2"):
        write(f"plain/{name}", rows)
    assert instruction_folders.kind_of(tmp_path / "plain") == "super_natural_instructions"
    task_from_file(tmp_path / "plain", "user_data", vocabulary=model, validation_rows=None).register()
    assert members("user_data") == ["user_data_task1", "user_data_task2"]
    assert len(list(examples("user_data_task1", "validation", LONG))) == 10
    write("plain/task.1", rows)
    write("plain/task-1", rows)
    write("plain/task_1", rows)
    with pytest.raises(UserError, match=r"task-1 and task_1 would both be the task 't_task_1'; rename one"):
        super_natural_instructions(tmp_path / "plain", "t").register()
    (tmp_path / "plain/task-1.json").write_text('{"a": 1}')
    (tmp_path / "plain/task_1.json").unlink()
    with pytest.raises(UserError, match=r"task-1.json is no task file: it has no key 'Instances' \(it has a\)"):
        super_natural_instructions(tmp_path / "plain", "u").register()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty has no task files; tasks/\*.json in it are wanted"):
        super_natural_instructions(tmp_path / "empty").register()
    with pytest.raises(UserError, match="There is no folder"):
        instruction_folders.layout(tmp_path / "nowhere")
    assert instruction_folders.kind_of(tmp_path / "empty") is None is instruction_folders.kind_of(tmp_path / "nowhere")


def test_files_and_folders_of_data_make_one_mixture(folder, tmp_path, write, model):
    single = write("single", [{"input": str(number), "output": "x"} for number in range(20)])
    register_files([str(folder), single], "user_data", vocabulary=model, validation_rows=5)
    assert members("user_data") == ["user_data_0_task1_a_b", "user_data_0_task2_C", "user_data_1"]
    assert members("user_data_test") == ["user_data_0_task4_test", "user_data_1"]
    assert len(list(examples("user_data_0_task4_test", "validation", LONG))) == 5
    assert declared("user_data_1").encodings  # a single file is told by its keys


def test_real_files_are_read_whole(data, model):
    """Every task of the folder words all its instances; what is left out are the empty answers of task388."""
    found = super_natural_instructions(data / "super_natural_instructions", "real", instances=None, vocabulary=model)
    registered = found.register()
    assert len(registered.train) == 18 and len(registered.test) == 5
    assert members("real_question_generation")[0].startswith("real_task")
    for path in sorted((data / "super_natural_instructions/tasks_third_party").glob("*.json")):
        how = {"validation_rows": 0, "instances": None, "vocabulary": model}
        super_natural_instructions(path, f"third_{path.stem}", **how).register()
    read = there = 0
    for name in (n for n in registry.names() if n.endswith(".definition")):
        for split in set(splits(name)) - {"test"}:
            for prompt, target in registry.recipe(name).texts(split, "error"):
                read += 1
                assert prompt.endswith("\nOutput: ") and target == target.strip() != ""
    for folder in ("tasks", "tasks_third_party"):
        for path in (data / "super_natural_instructions" / folder).glob("*.json"):
            there += sum(one["output"] not in ("", [""]) for one in json.loads(path.read_text())["Instances"])
    assert read == there > 10_000
    (swahili,) = examples("real_task1174_xcopa_commonsense_reasoning_sw", "validation", LONG, limit=1)
    assert "\nNow complete the following example -\nInput: " in swahili.inputs_text
