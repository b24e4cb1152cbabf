"""Declares instruction tasks and derives their uses; the only room that imports seqio."""

from flan_jax.tasks.chats import ChatTask
from flan_jax.tasks.examples import Example, Tally, describe, fingerprint, references, score, source_files
from flan_jax.tasks.foreign import set_version
from flan_jax.tasks.formats import task_from_file
from flan_jax.tasks.instruction import InstructionTask
from flan_jax.tasks.objectives import PrefixLanguageModel, SpanCorruption
from flan_jax.tasks.rates import caps_of, mixture, proportional, rate_of
from flan_jax.tasks.registry import declared, names
from flan_jax.tasks.sources import (
    array_record,
    csv,
    generator,
    hugging_face,
    json_array,
    jsonl,
    parquet,
    text,
    tfds,
    tfrecord,
)
from flan_jax.tasks.templates import Template
from flan_jax.tasks.vocabularies import train_sentencepiece

__all__ = [
    "ChatTask",
    "Example",
    "InstructionTask",
    "PrefixLanguageModel",
    "SpanCorruption",
    "Tally",
    "Template",
    "array_record",
    "caps_of",
    "csv",
    "declared",
    "describe",
    "fingerprint",
    "generator",
    "hugging_face",
    "json_array",
    "jsonl",
    "mixture",
    "names",
    "parquet",
    "proportional",
    "rate_of",
    "references",
    "score",
    "set_version",
    "source_files",
    "task_from_file",
    "text",
    "tfds",
    "tfrecord",
    "train_sentencepiece",
]
