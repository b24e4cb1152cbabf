"""Declares instruction tasks and derives their uses; the only room that imports seqio.

A name is imported when it is used: what reads files can be had without seqio and TensorFlow.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flan_jax.tasks.causal_lm import CausalLanguageModel
    from flan_jax.tasks.chats import ChatTask
    from flan_jax.tasks.denoisers import UL2, UL2_MODES, Denoiser, MixtureOfDenoisers
    from flan_jax.tasks.examples import Example, Tally, describe, fingerprint, references, score, source_files
    from flan_jax.tasks.foreign import set_version
    from flan_jax.tasks.formats.alpaca import alpaca
    from flan_jax.tasks.formats.chain_of_thought import chain_of_thought
    from flan_jax.tasks.formats.dialogues import dialogues
    from flan_jax.tasks.formats.files import register_files, task_from_file
    from flan_jax.tasks.formats.messages import messages
    from flan_jax.tasks.formats.moss import moss
    from flan_jax.tasks.formats.natural_instructions import natural_instructions
    from flan_jax.tasks.formats.oasst import oasst_trees
    from flan_jax.tasks.formats.pairs import pairs
    from flan_jax.tasks.formats.plain_text import plain_text
    from flan_jax.tasks.formats.self_instruct import self_instruct
    from flan_jax.tasks.formats.super_natural_instructions import super_natural_instructions
    from flan_jax.tasks.formats.unnatural_instructions import unnatural_instructions
    from flan_jax.tasks.instruction import InstructionTask
    from flan_jax.tasks.instruction_metrics import CrossLingual
    from flan_jax.tasks.label_metrics import binary_f1
    from flan_jax.tasks.prefix_lm import PrefixLanguageModel
    from flan_jax.tasks.rates import caps_of, mixture, proportional, rate_of
    from flan_jax.tasks.registry import declared, names
    from flan_jax.tasks.sources import (
        Corpus,
        Hub,
        array_record,
        csv,
        generator,
        hugging_face,
        json_array,
        jsonl,
        parquet,
        task_file,
        text,
        tfds,
        tfrecord,
    )
    from flan_jax.tasks.span_corruption import SpanCorruption
    from flan_jax.tasks.templates import Template
    from flan_jax.tasks.vocabularies import train_sentencepiece

__all__ = [
    "UL2",
    "UL2_MODES",
    "CausalLanguageModel",
    "ChatTask",
    "Corpus",
    "CrossLingual",
    "Denoiser",
    "Example",
    "Hub",
    "InstructionTask",
    "MixtureOfDenoisers",
    "PrefixLanguageModel",
    "SpanCorruption",
    "Tally",
    "Template",
    "alpaca",
    "array_record",
    "binary_f1",
    "caps_of",
    "chain_of_thought",
    "csv",
    "declared",
    "describe",
    "dialogues",
    "fingerprint",
    "generator",
    "hugging_face",
    "json_array",
    "jsonl",
    "messages",
    "mixture",
    "moss",
    "names",
    "natural_instructions",
    "oasst_trees",
    "pairs",
    "parquet",
    "plain_text",
    "proportional",
    "rate_of",
    "references",
    "register_files",
    "score",
    "self_instruct",
    "set_version",
    "source_files",
    "super_natural_instructions",
    "task_file",
    "task_from_file",
    "text",
    "tfds",
    "tfrecord",
    "train_sentencepiece",
    "unnatural_instructions",
]

_NAMES = {
    "causal_lm": "CausalLanguageModel",
    "chats": "ChatTask",
    "denoisers": "UL2 UL2_MODES Denoiser MixtureOfDenoisers",
    "examples": "Example Tally describe fingerprint references score source_files",
    "foreign": "set_version",
    "formats.alpaca": "alpaca",
    "formats.files": "register_files task_from_file",
    "formats.chain_of_thought": "chain_of_thought",
    "formats.messages": "messages",
    "formats.natural_instructions": "natural_instructions",
    "formats.dialogues": "dialogues",
    "formats.moss": "moss",
    "formats.oasst": "oasst_trees",
    "formats.pairs": "pairs",
    "formats.super_natural_instructions": "super_natural_instructions",
    "formats.self_instruct": "self_instruct",
    "formats.unnatural_instructions": "unnatural_instructions",
    "formats.plain_text": "plain_text",
    "instruction": "InstructionTask",
    "instruction_metrics": "CrossLingual",
    "label_metrics": "binary_f1",
    "prefix_lm": "PrefixLanguageModel",
    "span_corruption": "SpanCorruption",
    "rates": "caps_of mixture proportional rate_of",
    "registry": "declared names",
    "sources": (
        "Corpus Hub array_record csv generator hugging_face json_array jsonl parquet task_file text tfds tfrecord"
    ),
    "templates": "Template",
    "vocabularies": "train_sentencepiece",
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
    return found
