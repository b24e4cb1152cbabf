"""A user's folder of tasks whose rows repeat, and stand in what is scored."""

import json
import pathlib

TASKS = """
import os

import seqio
import tensorflow as tf

from flan_jax.tasks import ChatTask, InstructionTask, jsonl, mixture

FOLDER = os.path.dirname(os.path.abspath(__file__))
BYTES = seqio.ByteVocabulary()
QUESTIONS = dict(
    templates=("{passage}\\nWhat is told of?", "What is this about? {passage}"),
    held_out_templates=("Name the subject of this text: {passage}",),
    inverted_templates=(("Write of the {answer}.", "{passage}"),),
    answer="subject",
    vocabulary=BYTES,
)
InstructionTask("birds", jsonl(FOLDER + "/birds.jsonl"), **QUESTIONS).register()
InstructionTask("more_birds", jsonl(FOLDER + "/more_birds.jsonl"), **QUESTIONS).register()
InstructionTask("nests", jsonl(FOLDER + "/nests.jsonl", validation_rows=3), **QUESTIONS).register()
InstructionTask(
    "naming",
    jsonl(FOLDER + "/birds.jsonl"),
    templates=("Name the subject of this text: {passage}",),
    answer="subject",
    vocabulary=BYTES,
).register()
ChatTask("talks", jsonl(FOLDER + "/talks.jsonl"), vocabulary=BYTES).register()
seqio.TaskRegistry.add(
    "theirs",
    source=seqio.FunctionDataSource(
        lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(
            {"inputs": ["one two", "One  two!", "three"], "targets": ["a", "A", "b"]}
        ),
        splits=["train"],
    ),
    preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
    output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in ("inputs", "targets")},
)
mixture("all_birds", ["birds", "more_birds"])
mixture("both_ways", ["birds", "birds.inverted"])
mixture("evals", ["nests", "nests.held_out_templates"])


def short_of_twelve(task, prompt, answer):
    return not (task == "birds" and prompt.startswith("w12x") and answer == "a bird")


def broken(task, prompt, answer):
    return prompt["passage"]
"""


def unlike(number: int, size: int = 40) -> str:
    """A text of which no run of words stands in another."""
    return " ".join(f"w{number}x{place}" for place in range(size))


def write(folder: pathlib.Path) -> None:
    """Writes the module `leaky_tasks` and its data.

    birds        0 to 9; 10 says what 2 says, 11 nearly what 3 says; 12 has the words of a scored row among its own
    more_birds   20 is what birds' 4 is, 21 is a scored row
    nests        the first three are scored
    """
    (folder / "leaky_tasks.py").write_text(TASKS)
    row = lambda text, subject="a bird": {"passage": text, "subject": subject}
    nearly = unlike(3).rsplit(" ", 1)[0] + " changed"
    scored = [unlike(100), unlike(101), unlike(102)]
    mixed = f"{unlike(12, 20)} {' '.join(scored[0].split()[5:25])} {unlike(13, 20)}"
    birds = [row(unlike(number)) for number in range(10)]
    birds += [row(unlike(2).upper() + " !", "A Bird"), row(nearly), row(mixed)]
    rows = {
        "birds": birds,
        "more_birds": [row(unlike(20)), row(unlike(4)), row(scored[1] + ".", "another")],
        "nests": [*map(row, scored), row(unlike(103)), row(unlike(104))],
        "talks": [
            {"messages": [{"role": "system", "content": system}, *turns]}
            for system, turns in (
                ("Be kind.", [{"role": "user", "content": "Hi!"}, {"role": "assistant", "content": "Hello."}]),
                ("Be brief.", [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]),
                ("", [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "no"}]),
            )
        ],
    }
    for name, found in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in found))
