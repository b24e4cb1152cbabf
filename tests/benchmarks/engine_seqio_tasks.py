"""seqio's side: the same rows as plain seqio tasks, read from TFRecord files of tf.train.Example.

Of what a seqio user would write this is the cheapest: no parsing of JSON in the pipeline, no template to fill in, one
tokenising map and EOS; as the recipes of T5X have it, but for the templates, which are in the prompts already.
"""

import engine_data
import seqio
import tensorflow as tf

WORK, TASKS, VOCABULARY = engine_data.from_environment()
PIECES = seqio.SentencePieceVocabulary(VOCABULARY, extra_ids=100)  # as our tasks have it
TEXT = {name: tf.io.FixedLenFeature([], tf.string) for name in ("inputs", "targets")}
IDS = {name: tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True) for name in TEXT}
EXAMPLES = int((WORK / "tfrecord" / "examples").read_text())


def as_int32(dataset: tf.data.Dataset) -> tf.data.Dataset:
    to_int32 = lambda example: {name: tf.cast(ids, tf.int32) for name, ids in example.items()}
    return dataset.map(to_int32, num_parallel_calls=tf.data.AUTOTUNE)


def add(kind: str, folder: str, fields: dict, preprocessors: list) -> None:
    """Adds a task for each file of a folder, and the mixture of them."""
    names = [f"{kind}_{number:05d}" for number in range(TASKS)]
    for number, name in enumerate(names):
        path = str(WORK / folder / f"task_{number:05d}")
        seqio.TaskRegistry.add(
            name,
            source=seqio.TFExampleDataSource({"train": path}, fields, num_input_examples={"train": EXAMPLES}),
            preprocessors=[*preprocessors, seqio.preprocessors.append_eos_after_trim],
            output_features={name: seqio.Feature(PIECES, add_eos=name == "targets") for name in TEXT},
        )
    seqio.MixtureRegistry.add(f"{kind}_{TASKS}", names, default_rate=1.0)


add("theirs", "tfrecord", TEXT, [seqio.preprocessors.tokenize])
# What seqio's offline cache comes to: token ids in tf.train.Example, read and padded as they are.
add("cached", "tfrecord_ids", IDS, [as_int32])
