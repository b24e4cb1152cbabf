"""A training example of a conversation is what transformers' `apply_chat_template` gives, id by id."""

import numpy as np
import pytest

from flan_jax.tasks import ChatTask, generator, vocabularies
from flan_jax.tasks.examples import examples
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests.golden_chats import TALKS, TEMPLATES, golden, write_folder

# Served, the prompt ends within a token of the whole ("▁It"), which is the answer's; or the first answer stands in an
# example of its own.
OTHER_PROMPTS = {("answers that begin within a token", 0), ("thoughts in the last answer", 1)}
LEARNT = {
    "a system prompt by default": ["It is.<|im_end|>", "No <|im_end|>!<|im_end|>The capital\nof Norway<|im_end|>"],
    "an end that is not EOS": ["It is.<|im_end|>", "No <|im_end|>!<|im_end|>The capital\nof Norway<|im_end|>"],
    "marks": ["It is.<|im_end|>", "No <|im_end|>!<|im_end|>The capital\nof Norway<|im_end|>"],
    "thoughts in the last answer": [
        "<think>\n\n</think>\n\nIt is.<|im_end|>",
        "<think>\n\n</think>\n\nThe capital\nof Norway<|im_end|>",
    ],
}


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_ids_are_transformers(tmp_path, name):
    folder = write_folder(tmp_path / "model", name)
    rows = [{"messages": talk} for talk in TALKS]
    ChatTask("golden", generator(lambda split: rows), vocabulary=str(folder)).register()
    tokenizer = TokenizerFolder(folder)
    begin = [tokenizer.around[0]] if tokenizer.around[0] >= 0 else []
    wanted = golden()["templates"][name]
    found = list(examples("golden", "train", {"inputs": None, "targets": None}))
    if name == "thoughts in the last answer":
        # What the whole writes otherwise is learnt as it is written when it is asked for.
        (earlier,) = [one for one in found if one.id == "train:1#0"]
        assert earlier.inputs.tolist() == wanted[1]["before"]
        text = "".join(tokenizer.pieces(earlier.targets))
        assert text == "<think>\n\n</think>\n\nNo <|im_end|>!<|im_end|>" and earlier.weights is None
        found = [one for one in found if one is not earlier]
    assert len(found) == len(wanted) == len(TALKS)
    for number, (one, theirs) in enumerate(zip(found, wanted, strict=True)):
        # A template that begins with the token that the row adds has it once; one that lacks it gets it from the row.
        begun = begin if theirs["whole"][: len(begin)] == begin else []
        ids = [*begun, *one.inputs.tolist(), *one.targets.tolist()]
        assert ids == theirs["whole"][: len(ids)]
        rest = tokenizer.pieces(theirs["whole"][len(ids) :])
        assert "".join(rest).strip() == ""  # at most the line feed after the last answer's end
        assert (begun + one.inputs.tolist() == theirs["before"]) == ((name, number) not in OTHER_PROMPTS)
        weights = np.ones(len(one.targets)) if one.weights is None else one.weights
        learnt = [*np.zeros(len(begun) + len(one.inputs), int), *(weights > 0), *np.zeros(len(rest), int)]
        if "learnt" in theirs:
            assert learnt == theirs["learnt"]
        if name in LEARNT:
            text = "".join(tokenizer.pieces(one.targets[weights > 0]))
            assert text == LEARNT[name][number]


def test_an_end_of_turn_that_no_file_names_ends_answers(tmp_path):
    folder = write_folder(tmp_path / "model", "an end that is not EOS")
    tokenizer, described = TokenizerFolder(folder), vocabularies.describe(str(folder))
    assert tokenizer.pieces(described["eos_ids"]) == ["<|endoftext|>", "<|im_end|>"]
