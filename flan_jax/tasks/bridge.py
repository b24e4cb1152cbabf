"""Our tasks as seqio tasks, so that whoever knows seqio can use them: the same rows, templates and ids through
tf.data."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from flan_jax.tasks import metrics, vocabularies
from flan_jax.tasks.recipe import Encoder, Example, Recipe, Request
from flan_jax.tasks.sources import Source, plain


def seqio_task(recipe: Recipe) -> seqio.Task:
    """Makes the seqio task of a recipe; seed and draw are 0 there, and nothing is read before it is used.

    Raises:
      ValueError: seqio does not take its name.
    """
    vocabulary = vocabularies.load(recipe.vocabulary)
    return seqio.Task(
        name=recipe.name,
        source=RowSource(recipe.source),
        output_features={
            # `Render` ends them where the model that the vocabulary comes with wants it, which takes reading to know.
            "inputs": seqio.Feature(vocabulary, add_eos=False, required=False),
            "targets": seqio.Feature(vocabulary, add_eos=True),
        },
        preprocessors=[Render(recipe)],
        postprocess_fn=references_or_text,
        metric_fns=[metrics.function(metric) for metric in recipe.metrics],
    )


_TEXTS = ("id", "inputs_pretokenized", "targets_pretokenized", "references")


class RowSource(seqio.DataSource):
    """A seqio data source of rows: their id, their split, and the row as JSON."""

    def __init__(self, source: Source):
        super().__init__(splits=())
        self._source = source

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the source's splits."""
        return self._source.splits

    @property
    def supports_arbitrary_sharding(self) -> bool:
        """No: rows are read in order."""
        return False

    def list_shards(self, split: str) -> list[str]:
        """One shard a split."""
        return [split]

    def num_input_examples(self, split: str) -> int | None:
        """How many rows there are, where that is cheap to know."""
        return self._source.num_rows(split)

    def get_dataset(
        self, split: str = "train", shuffle: bool = True, seed=None, shard_info=None, **unused
    ) -> tf.data.Dataset:
        """The rows of a split in their order; seqio shuffles what comes of them."""
        del shuffle, seed, unused
        signature = {key: tf.TensorSpec((), tf.string) for key in ("id", "split", "row")}

        def rows() -> Iterator[dict[str, str]]:
            for row_id, row in self._source.rows(split):
                yield {"id": row_id, "split": split, "row": json.dumps(plain(row), ensure_ascii=False)}

        dataset = tf.data.Dataset.from_generator(rows, output_signature=signature)
        return dataset.shard(shard_info.num_shards, shard_info.index) if shard_info else dataset


class Render:
    """A seqio preprocessor that turns rows into examples with the recipe's own Python code."""

    def __init__(self, recipe: Recipe):
        self._recipe = recipe

    def __call__(self, dataset: tf.data.Dataset, sequence_length: Mapping[str, int] | None = None) -> tf.data.Dataset:
        """Each row becomes as many examples as the recipe makes of it, perhaps none."""
        encoders: dict[str, Encoder] = {}
        request = Request(lengths=dict(sequence_length or {}))

        def render(row_id: bytes, split: bytes, row: bytes) -> list[np.ndarray]:
            name = split.decode()
            if name not in encoders:
                encoders[name] = self._recipe.encoder(name, request)
            return _packed(list(encoders[name]([(row_id.decode(), json.loads(row))])))

        def expand(element: dict[str, tf.Tensor]) -> tf.data.Dataset:
            types = [tf.int32, tf.int32, tf.int32, tf.int32, tf.float32, tf.string, tf.string, tf.string, tf.string]
            packed = tf.numpy_function(render, [element["id"], element["split"], element["row"]], types)
            for tensor in packed:
                tensor.set_shape([None])
            inputs, input_lengths, targets, target_lengths, weights, *texts = packed
            input_ends, target_ends = tf.cumsum(input_lengths), tf.cumsum(target_lengths)

            def one(number: tf.Tensor) -> dict[str, tf.Tensor]:
                own_inputs = slice(input_ends[number] - input_lengths[number], input_ends[number])
                own_targets = slice(target_ends[number] - target_lengths[number], target_ends[number])
                return {
                    "inputs": inputs[own_inputs],
                    "targets": targets[own_targets],
                    "targets_loss_weights": weights[own_targets],
                    **{key: column[number] for key, column in zip(_TEXTS, texts, strict=True)},
                }

            return tf.data.Dataset.range(tf.size(input_lengths, tf.int64)).map(one)

        return dataset.flat_map(expand)


def _packed(examples: list[Example]) -> list[np.ndarray]:
    """Examples as flat arrays: ids one after another and how many each example has, texts as bytes."""
    weights = [np.ones(len(one.targets), np.float32) if one.weights is None else one.weights for one in examples]
    texts = [
        [one.id for one in examples],
        [one.inputs_text for one in examples],
        [one.targets_text for one in examples],
        [json.dumps(one.metric_target, ensure_ascii=False) for one in examples],
    ]
    return [
        np.concatenate([np.zeros(0, np.int32), *(one.inputs for one in examples)]),
        np.array([len(one.inputs) for one in examples], np.int32),
        np.concatenate([np.zeros(0, np.int32), *(one.targets for one in examples)]),
        np.array([len(one.targets) for one in examples], np.int32),
        np.concatenate([np.zeros(0, np.float32), *weights]),
        *(np.array([text.encode() for text in column], dtype=object) for column in texts),
    ]


def references_or_text(output: Any, example: Mapping[str, Any] | None = None, is_target: bool = False) -> Any:
    """The seqio postprocessor of our tasks: a target becomes all its references, a prediction its text without outer
    blanks."""
    if is_target and example is not None and "references" in example:
        encoded = example["references"]
        return json.loads(encoded if isinstance(encoded, str | bytes) else encoded.item()) or [str(output)]
    return str(output).strip()
