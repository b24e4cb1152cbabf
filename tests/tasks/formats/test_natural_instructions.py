"""Natural Instructions v1: the paper's full encoding, its parts left out, and the marks that stand for nothing."""

import json

import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, natural_instructions, registry, task_from_file
from flan_jax.tasks.examples import describe, examples
from flan_jax.tasks.formats import instruction_folders
from flan_jax.tasks.formats.natural_instructions import ENCODINGS

LONG = {"inputs": None, "targets": None}
HEAD = {
    "Title": "Plurals",
    "Prompt": "Say the plural. ",
    "Definition": "Write the plural of a word.",
    "Things to Avoid": "Do not explain.",
    "Emphasis & Caution": "Mind the spelling.",
    "Examples": {
        "Positive Examples": [
            {"input": "pear", "output": "pears", "reason": "One more s."},
            {"input": "plum", "output": "plums", "reason": "-"},
        ],
        "Negative Examples": [
            {"input": "stone", "output": "stone", "reason": "The same.", "suggestion": "Add an s."},
            {"input": "a", "output": "b", "reason": "Another.", "suggestion": " "},
        ],
    },
}
ROW = {"input": "cloud", "output": ["clouds", "", "the clouds"]}
SAID = {
    "Definition": "Definition: Write the plural of a word.\n",
    "Prompt": "Prompt: Say the plural.\n",
    "Avoid": "Things to Avoid: Do not explain.\n",
    "Emphasis": "Emphasis & Caution: Mind the spelling.\n",
    "Negative": "Negative Example1- \ninput: stone\noutput: stone\nreason: The same.\nsuggestion: Add an s.\n"
    "Negative Example2- \ninput: a\noutput: b\nreason: Another.\n",
    "Positive": "Positive Example1- \ninput: pear\noutput: pears\nreason: One more s.\n"
    "Positive Example2- \ninput: plum\noutput: plums\n",
    "Asked": "input: cloud\noutput:",
}
PLAIN = "input: pear\noutput: pears\ninput: plum\noutput: plums\n"


def without(*parts):
    return "".join(text for part, text in SAID.items() if part not in parts)


def only(*parts):
    return "".join(text for part, text in SAID.items() if part in (*parts, "Asked"))


GOLDEN = {
    "": without(),
    ".with_title": "Title: Plurals\n" + without(),
    ".without_definition": without("Definition"),
    ".without_prompt": without("Prompt"),
    ".without_things_to_avoid": without("Avoid"),
    ".without_emphasis": without("Emphasis"),
    ".without_negative_examples": without("Negative"),
    ".without_positive_examples": without("Positive"),
    ".without_examples": without("Negative", "Positive"),
    ".without_explanations": without("Negative", "Positive", "Asked") + PLAIN + SAID["Asked"],
    ".no_instruction": only(),
    ".prompt": only("Prompt"),
    ".prompt_and_definition": only("Definition", "Prompt"),
    ".prompt_and_things_to_avoid": only("Prompt", "Avoid"),
    ".prompt_and_emphasis": only("Prompt", "Emphasis"),
    ".prompt_and_examples": only("Prompt", "Negative", "Positive"),
    ".prompt_and_positive_examples": SAID["Prompt"] + PLAIN + SAID["Asked"],
    ".prompt_definition_and_positive_examples": SAID["Definition"] + SAID["Prompt"] + PLAIN + SAID["Asked"],
    ".positive_examples": PLAIN + SAID["Asked"],
}


@pytest.fixture
def write(tmp_path):
    def write(rows=(ROW,), name="subtask001_plurals", **head):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({**HEAD, **head, "Instances": list(rows)}))
        return path

    return write


def test_every_encoding(write, model):
    natural_instructions(write(), "t", validation_rows=0, vocabulary=model).register()
    assert set(GOLDEN) == {"", *(f".{name}" for name in ENCODINGS)}
    for ending, prompt in GOLDEN.items():
        (one,) = examples(f"t{ending}", "train", LONG)
        assert one.inputs_text == prompt and one.references == ("clouds", "the clouds")
    assert describe("t")["metrics"] == ["super_ni"]


def test_marks_that_stand_for_nothing(write, model):
    nothing = {"Things to Avoid": "-", "Emphasis & Caution": "- ", "Definition": " ", "Prompt": "Do -"}
    positive = HEAD["Examples"]["Positive Examples"][:1]
    shown = {"Positive Examples": positive, "Negative Examples": ["-"]}
    rows = [{"input": "cloud", "output": ""}, {"input": "cloud", "output": "clouds"}]
    natural_instructions(write(rows, Examples=shown, **nothing), "t", validation_rows=0, vocabulary=model).register()
    tally = Tally()
    (one,) = examples("t", "train", LONG, tally=tally)
    assert one.inputs_text == "Prompt: Do -\n" + SAID["Positive"].partition("Positive Example2")[0] + SAID["Asked"]
    assert (tally.kept, tally.dropped) == (1, 1)


def test_positive_examples_stay_longer_than_negative_ones(write, model):
    natural_instructions(write(), "t", validation_rows=0, vocabulary=model).register()
    (shorter,) = examples("t.without_negative_examples", "train", LONG)
    tally = Tally()
    (one,) = examples("t", "train", {"inputs": len(shorter.inputs), "targets": 9}, tally=tally)
    assert one.inputs_text == shorter.inputs_text and tally.pruned_exemplars == 2


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ({"Examples": ["a"]}, "Examples is a list; an object of positive and negative ones is wanted"),
        ({"Examples": {"Positive Examples": ["a"]}}, "Positive Example1 is 'a'; an object with input and output"),
        ({"Definition": {"a": 1}}, r"the column 'Definition' is \{'a': 1\}; text is wanted"),
    ],
)
def test_bad_rows(write, model, head, message):
    natural_instructions(write(**head), "t", validation_rows=0, vocabulary=model).register()
    with pytest.raises(UserError, match=f"subtask001_plurals.json, instance 1: {message}"):
        list(examples("t", "train", LONG))


def test_a_file_is_told_by_its_keys_and_a_real_folder_is_read_whole(write, data, model):
    task_from_file(write(), "t", vocabulary=model, validation_rows=0).register()
    assert next(examples("t", "train", LONG)).inputs_text == GOLDEN[""]
    folder = data / "natural_instructions_v1"
    assert instruction_folders.kind_of(folder) == "natural_instructions"
    natural_instructions(folder, "real", vocabulary=model).register()
    names = [task.name for task in seqio.MixtureRegistry.get("real.without_definition").tasks]
    assert len(names) == 9
    prompts = [
        prompt
        for name in names
        for split in ("train", "validation")
        for prompt, _ in registry.recipe(name).texts(split, "error")
    ]
    assert not any("Definition: " in prompt or ": -\n" in prompt for prompt in prompts)
    assert len(prompts) == 6_903  # one of the 6,904 has an empty answer alone
