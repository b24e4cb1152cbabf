"""seqio's side of the benchmark: what runs in a child to measure seqio's own pipeline on the same tasks."""

import json
import pathlib
import time
from typing import Any

import engine_process

LENGTHS = {"encoder_decoder": {"inputs": 1024, "targets": 256}, "decoder": {"inputs": 1792, "targets": 256}}
TOKENS = {"encoder_decoder": ("encoder_segment_ids", "decoder_segment_ids"), "decoder": ("decoder_segment_ids",)}


def write(work: str, tasks: int, examples: int) -> None:
    """Writes the rows of the JSON Lines files as TFRecord files, unless they are there."""
    import tensorflow as tf

    folder = pathlib.Path(work) / "tfrecord"
    folder.mkdir(exist_ok=True)
    (folder / "examples").write_text(str(examples))
    text = lambda value: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value.encode()]))
    for number in range(tasks):
        path = folder / f"task_{number:05d}"
        if path.exists():
            continue
        rows = map(json.loads, (folder.parent / "jsonl" / f"{path.name}.jsonl").read_text().splitlines())
        with tf.io.TFRecordWriter(f"{path}.partial") as writer:
            for row in rows:
                fields = {"inputs": text(row["prompt"]), "targets": text(row["answer"])}
                writer.write(tf.train.Example(features=tf.train.Features(feature=fields)).SerializeToString())
        pathlib.Path(f"{path}.partial").rename(path)


def write_ids(work: str, tasks: int) -> None:
    """Writes the token ids of the first tasks as TFRecord files, as seqio's offline cache would."""
    import seqio
    import tensorflow as tf
    from engine_seqio_tasks import PIECES

    folder = pathlib.Path(work) / "tfrecord_ids"
    folder.mkdir(exist_ok=True)
    for number in range(tasks):
        path = folder / f"task_{number:05d}"
        if path.exists():
            continue
        rows = map(json.loads, (folder.parent / "jsonl" / f"{path.name}.jsonl").read_text().splitlines())
        with tf.io.TFRecordWriter(f"{path}.partial") as writer:
            for row in rows:
                ids = {"inputs": PIECES.encode(row["prompt"]), "targets": PIECES.encode(row["answer"])}
                writer.write(seqio.dict_to_tfexample({k: tf.constant(v) for k, v in ids.items()}).SerializeToString())
        pathlib.Path(f"{path}.partial").rename(path)


def dataset(mixture: str, architecture: str, batch_size: int) -> Any:
    """seqio's own packed and shuffled data set, as T5X asks for it in training."""
    import engine_seqio_tasks  # noqa: F401 (registers the tasks)
    import seqio

    converter = {"encoder_decoder": seqio.EncDecFeatureConverter, "decoder": seqio.PrefixLMFeatureConverter}
    return seqio.get_dataset(
        mixture,
        task_feature_lengths=LENGTHS[architecture],
        dataset_split="train",
        shuffle=True,
        num_epochs=None,
        seed=0,
        feature_converter=converter[architecture](pack=True),
        batch_size=batch_size,
        verbose=False,
    )


def steady(mixture: str, architecture: str, batch_size: int, seconds: float) -> None:
    """Tells when the first batch is there, and tokens by CPU-second and by second after it."""
    batches = dataset(mixture, architecture, batch_size).as_numpy_iterator()
    batch = next(batches)
    names = [name for name in TOKENS[architecture] if name in batch]
    positions = sum(batch[name].size for name in names)
    engine_process.tell("first_batch", **engine_process.usage())
    if not seconds:
        return
    next(batches)
    tokens, steps = 0, 0
    start, cpu = time.perf_counter(), engine_process.cpu_seconds()
    while time.perf_counter() - start < seconds:
        batch = next(batches)
        tokens, steps = tokens + int(sum((batch[name] > 0).sum() for name in names)), steps + 1
    wall, cpu = time.perf_counter() - start, engine_process.cpu_seconds() - cpu
    engine_process.tell(
        "steady",
        tokens_per_cpu_second=tokens / cpu,
        tokens_per_second=tokens / wall,
        full=tokens / (positions * steps),
        batches_per_second=steps / wall,
    )


def prepare(mixture: str, architecture: str) -> None:
    """Runs every task's preprocessors to the end of its source: what seqio's cache would keep."""
    import engine_seqio_tasks  # noqa: F401 (registers the tasks)
    import seqio

    engine_process.tell("imported")
    count = tokens = 0
    for task in seqio.MixtureRegistry.get(mixture).tasks:
        made = task.get_dataset(LENGTHS[architecture], "train", use_cached=False, shuffle=False)
        for example in made.as_numpy_iterator():
            count, tokens = count + 1, tokens + len(example["inputs"]) + len(example["targets"])
    engine_process.tell("prepared", examples=count, tokens=tokens)


if __name__ == "__main__":
    engine_process.answer({"write": write, "write_ids": write_ids, "steady": steady, "prepare": prepare})
