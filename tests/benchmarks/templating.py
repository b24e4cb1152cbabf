"""Templating and tokenising: a declaration of FLAN 2021 beside one fixed string template in seqio, on the same rows.

    python tests/benchmarks/templating.py [--rows 4000] [--rounds 3]

Both read the same rows of made-up review text, with the packaged vocabulary, in one process and in turn; the fastest
round of each counts. Ours draws one of eleven templates, one of five ways to write the options and their order for each
row, and tokenises every option; seqio joins two strings and tokenises them. The goal is a ratio of 0.8 or more.
"""

import argparse
import json
import random
import time

import seqio
import tensorflow as tf

from flan_jax.mixtures.flan2021.sentiment import yelp_polarity_reviews
from flan_jax.tasks import generator
from flan_jax.tasks.examples import examples
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.vocabularies import load

LENGTHS = {"inputs": 512, "targets": 32}
WORDS = "the a soup table waiter was not very good bad cold warm and but we came went again never friendly slow".split()  # noqa: SIM905


def rows(count: int) -> list[dict]:
    """Reviews of 20 to 120 words."""
    draw = random.Random(7)
    text = lambda: " ".join(draw.choice(WORDS) for _ in range(draw.randint(20, 120)))
    return [{"text": text().capitalize() + ".", "label": draw.randint(0, 1)} for _ in range(count)]


def ours(data: list[dict]) -> float:
    """Seconds for all rows."""
    start = time.perf_counter()
    assert sum(1 for _ in examples("reviews", "train", LENGTHS)) == len(data)
    return time.perf_counter() - start


def theirs(data: list[dict]) -> float:
    """The same of seqio's pipeline."""
    start = time.perf_counter()
    dataset = seqio.TaskRegistry.get("fixed").get_dataset(LENGTHS, "train", shuffle=False)
    assert sum(1 for _ in dataset.as_numpy_iterator()) == len(data)
    return time.perf_counter() - start


def register(data: list[dict]) -> None:
    """Registers both tasks."""
    (declared,) = yelp_polarity_reviews.TASKS
    fields = {name: getattr(declared, name) for name in ("templates", "held_out_templates", "options", "answer")}
    fields |= {"option_styles": declared.option_styles, "shuffle_options": True, "preprocess": declared.preprocess}
    InstructionTask("reviews", generator(lambda split: iter(data), num_rows={"train": len(data)}), **fields).register()
    vocabulary = load("starter")

    def source(split, shuffle_files=False, seed=None):
        return tf.data.Dataset.from_tensor_slices({name: [row[name] for row in data] for name in ("text", "label")})

    def templated(row):
        labels = tf.constant(["negative", "positive"])
        return {
            "inputs": tf.strings.join(["Review: ", row["text"], "\nIs it positive or negative?"]),
            "targets": labels[row["label"]],
        }

    seqio.TaskRegistry.add(
        "fixed",
        source=seqio.FunctionDataSource(source, splits=["train"]),
        preprocessors=[
            seqio.map_over_dataset(templated),
            seqio.preprocessors.tokenize,
            seqio.preprocessors.append_eos_after_trim,
        ],
        output_features={name: seqio.Feature(vocabulary) for name in ("inputs", "targets")},
    )


def main() -> None:
    """Measures and prints JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    data = rows(asked.rows)
    register(data)
    times: dict[str, list[float]] = {"ours": [], "seqio": []}
    for _ in range(asked.rounds + 1):
        times["ours"].append(ours(data))
        times["seqio"].append(theirs(data))
    rates = {name: round(len(data) / min(seconds[1:])) for name, seconds in times.items()}  # the first warms up
    print(json.dumps({"examples_per_second": rates, "ratio": round(rates["ours"] / rates["seqio"], 2), "goal": 0.8}))


if __name__ == "__main__":
    main()
