"""Unnatural Instructions (Honovich et al., 2022): what a model thought up from three examples at a time.

Sort the words by length, shortest first.
Words: pear, fig, banana
Constraints: The output is a list of words, parted by commas.
→ fig, pear, banana

    unnatural_instructions        the core: each instruction as it was first written (68,478 of them)
    unnatural_instructions_full   its reformulations too, each an example of its own (240,670)
    unnatural_instructions_drawn  the core, worded by the instruction or one of its reformulations, drawn in each pass

    Data.corpora = {"unnatural_instructions": "full_data.jsonl"}
"""

from flan_jax.tasks import Corpus, Hub, unnatural_instructions

_CORPUS = Corpus(
    "unnatural_instructions",
    tfds="unnatural_instructions:0.0.1",
    hub=Hub("mrm8488/unnatural-instructions-full"),
    splits={"train": "train[50:]", "validation": "train[:50]"},
    get="full_data.jsonl, or core_data.jsonl for the core alone, out of the archives in data/ of "
    "github.com/orhonovich/unnatural-instructions, MIT",
    sample={
        "instruction": "Sort the words by length, shortest first.",
        "instances": [
            {
                "instruction_with_input": "Sort the words by length, shortest first.\nWords: pear, fig, banana",
                "input": "Words: pear, fig, banana",
                "constraints": "The output is a list of words, parted by commas.",
                "output": "fig, pear, banana",
            }
        ],
        "reformulations": [
            {
                "instruction": "{INPUT} Put the short ones first.",
                "instruction_with_input": "Words: pear, fig, banana Put the short ones first.",
                "input": "Words: pear, fig, banana",
                "output": "fig, pear, banana",
            }
        ],
    },
)

TASKS = (
    unnatural_instructions(_CORPUS, "unnatural_instructions").register(),
    unnatural_instructions(_CORPUS, "unnatural_instructions_full", reformulations="all").register(),
    unnatural_instructions(_CORPUS, "unnatural_instructions_drawn", reformulations="drawn").register(),
)
