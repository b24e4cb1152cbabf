"""A few examples of a task as a reader wants to see them, straight from its source."""

from collections.abc import Mapping
from typing import Any

from flan_jax.tasks import registry, vocabularies
from flan_jax.tasks.examples import examples, only_sample


def preview(
    task: str,
    split: str,
    lengths: Mapping[str, int | None],
    num: int = 3,
    seed: int = 0,
    draw: int = 0,
) -> list[dict[str, Any]]:
    """The first examples of a task's split, fit for JSON; where its corpus is not at hand, its sample as drawn anew.

    Args:
      task: a registered seqio task's name.
      split: "train", "validation", ...
      lengths: the most tokens of "inputs" and "targets".
      num: how many.
      seed: the run's seed.
      draw: which pass over the data.

    Returns:
      A dict an example: "id", "objective", "template", "form", "inputs_text" and "targets_text" (rendered, or what the
      ids stand for), "inputs" and "targets" (ids), "inputs_pieces" and "targets_pieces", "weights" (one a target
      token), "options" (texts), "answer", "cut_tokens" and "from_sample".
    """
    recipe = registry.recipe(task)
    is_chat = recipe is not None and recipe.form == "chat"
    seqio_task = registry.seqio_task(task)
    vocabulary = seqio_task.output_features["targets"].vocabulary if recipe is None else recipe.vocabulary
    targets = vocabularies.tokenizer(vocabulary)
    own = seqio_task.output_features.get("inputs")
    inputs = targets if own is None or recipe is not None else vocabularies.tokenizer(own.vocabulary)
    shown = []
    from_sample = only_sample(task)
    found = (
        (one for other in range(num) for one in examples(task, split, lengths, seed=seed, draw=other, from_sample=True))
        if from_sample
        else examples(task, split, lengths, seed=seed, draw=draw, limit=num)
    )
    for example in found:
        weights = [1.0] * len(example.targets) if example.weights is None else example.weights.tolist()
        inputs_pieces, targets_pieces = inputs.pieces(example.inputs), targets.pieces(example.targets)
        shown.append(
            {
                "id": example.id,
                "objective": example.objective,
                "template": example.template,
                "form": recipe.form if recipe else "plain",
                # A template's own words are what the model sees too.
                "inputs_text": "".join(inputs_pieces) if is_chat else example.inputs_text or _joined(inputs_pieces),
                "targets_text": example.targets_text or _joined(targets_pieces),
                "inputs": example.inputs.tolist(),
                "targets": example.targets.tolist(),
                "inputs_pieces": inputs_pieces,
                "targets_pieces": targets_pieces,
                "weights": weights,
                "options": None if example.options is None else [targets.decode(ids) for ids in example.options],
                "answer": example.answer,
                "cut_tokens": example.cut_tokens,
                "from_sample": from_sample,
            }
        )
    return shown


def _joined(pieces: list[str]) -> str:
    """Pieces as running text, the sentinels among them."""
    return "".join(pieces).replace("\u2581", " ").strip()
