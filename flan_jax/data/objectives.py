"""Which architecture can train which objective.

    objective              encoder-decoder                  decoder
    instruction, chat      yes                              yes
    span_corruption        yes, as T5 is                    yes: what is hidden is asked for after what is shown
    prefix_lm              yes                              yes; `Model.prefix_lm` reads the prefix both ways
    causal_lm              no: its encoder has no token     yes
                           of the text to read
    mixture_of_denoisers   yes, as UL2 is                   yes
    seqio                  tasks of other code: whoever declares them knows

Of a segment without inputs an encoder-decoder's cross-attention would have nothing to look at but its neighbours in the
row.
"""

from collections.abc import Mapping

from flan_jax.errors import UserError

#: Objectives of text without instructions, as pretraining has them.
ON_TEXT = ("span_corruption", "prefix_lm", "causal_lm", "mixture_of_denoisers")
_OTHER_CODE = "seqio"
_DECODERS_ONLY = ("causal_lm",)


def refuse_not_text(objectives: Mapping[str, str], setting: str) -> None:
    """Refuses tasks that are no plain text; of those of other code whoever declares them knows.

    Args:
      objectives: as in `refuse_unfit`.
      setting: what names the mixture of these tasks.

    Raises:
      UserError: there is such a task.

    >>> refuse_not_text({"book": "causal_lm", "c4_v220_span_corruption": "seqio"}, "PRETRAINING")
    """
    other = {task: objective for task, objective in objectives.items() if objective not in (*ON_TEXT, _OTHER_CODE)}
    if not other:
        return
    task, objective = next(iter(other.items()))
    one_of = f", one of {len(other)}," if len(other) > 1 else ""
    raise UserError(
        f"{setting}: task {task!r}{one_of} is no plain text (its objective is {objective}), wanted tasks of "
        f"{', '.join(ON_TEXT)}; name such ones, as c4_span_corruption, and train on {task!r} by MIXTURE or REPLAY"
    )


def refuse_unfit(objectives: Mapping[str, str], architecture: str, setting: str) -> None:
    """Refuses tasks that a model of this architecture cannot train, or be scored on.

    Args:
      objectives: the objective of each task by its name, as examples have it.
      architecture: "encoder_decoder" or "decoder".
      setting: what names the mixture of these tasks.

    Raises:
      UserError: there is such a task.

    >>> refuse_unfit({"book": "causal_lm"}, "decoder", "MIXTURE")
    """
    unfit = [task for task, objective in objectives.items() if objective in _DECODERS_ONLY]
    if architecture == "decoder" or not unfit:
        return
    more = f" and {len(unfit) - 1} others" if len(unfit) > 1 else ""
    raise UserError(
        f"{setting}: task {unfit[0]!r}{more} of causal language modelling (causal_lm) gives a model no inputs, and "
        f"Model.architecture is {architecture!r}, whose encoder would have nothing to read; set MODEL to a decoder "
        f"(--model llama_1b.gin), or declare the text as PrefixLanguageModel, SpanCorruption or MixtureOfDenoisers"
    )
