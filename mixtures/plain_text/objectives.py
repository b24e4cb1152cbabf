"""What every corpus of plain text may be trained on, a task for each: as T5, UL2 and language models are pretrained.

    CORPUS_span_corruption   T5's: spans are hidden, and asked for
    CORPUS_prefix_lm         the beginning is shown, and the rest is asked for
    CORPUS_causal_lm         all is asked for; for decoders
    CORPUS_ul2               UL2's seven denoisers, with the tokens of its modes

A text is mixed in beside instructions by a rate of its own: mixture("more", [("flan2021", 0.9), ("c4_ul2", 0.1)]).
"""

from typing import Any

from flan_jax.tasks import (
    UL2_MODES,
    CausalLanguageModel,
    Corpus,
    MixtureOfDenoisers,
    PrefixLanguageModel,
    SpanCorruption,
)
from flan_jax.tasks.sources import Source


def text_tasks(source: Corpus | Source, name: str = "") -> tuple[Any, ...]:
    """Declares the tasks of rows that have a "text"; `name` is what they are called after, by default the corpus."""
    name = name or source.name
    # Inputs end as the model's own did that is trained further; T5's end in end-of-sequence.
    shared: dict[str, Any] = {"source": source, "cluster": "plain_text"}
    return (
        SpanCorruption(f"{name}_span_corruption", add_eos_to_inputs=None, **shared),
        PrefixLanguageModel(f"{name}_prefix_lm", split="uniform", add_eos_to_inputs=None, **shared),
        CausalLanguageModel(f"{name}_causal_lm", **shared),
        MixtureOfDenoisers(f"{name}_ul2", modes=UL2_MODES, **shared),
    )
