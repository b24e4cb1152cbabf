"""Plain text that is scored by loss wherever a run is scored: the held-out split of its pretraining tasks.

That is PRETRAINING's, also where its share is 0, which is the control that forgetting is measured against; without
PRETRAINING the plain text of MIXTURE, where it has a share of its own.
"""

import dataclasses
from collections.abc import Sequence

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.data.beside import text_request
from flan_jax.data.mixing_config import is_off
from flan_jax.data.objectives import ON_TEXT, refuse_not_text
from flan_jax.data.resolve import PRETRAINING, Resolved, members, resolve
from flan_jax.data.worker import Worker


def text_tasks(config: RunConfig, worker: Worker) -> tuple[str, list[str], list[str]]:
    """The split of the text that a run is scored by, its tasks, and those that lack it.

    It is `Evaluation.split` where any of them has that, else "validation": text is seldom split in three.

    Raises:
      UserError: there are no such tasks, or they are no plain text.
    """
    settings, split = config.pretraining, config.evaluation.split
    if not settings.eval or (not settings.mixture and is_off(settings.fraction)):
        return split, [], []
    setting = PRETRAINING if settings.mixture else "MIXTURE"
    request = text_request(setup.request_of(config, config.mixture, split), settings)
    known = members(request, worker, setting)
    objectives = {name: about["objective"] for name, about in known.items()}
    if settings.mixture:
        refuse_not_text(objectives, PRETRAINING)
    else:
        known = {name: about for name, about in known.items() if objectives[name] in ON_TEXT}
    if not any(split in about["splits"] for about in known.values()):
        split = "validation"
    there = [name for name, about in known.items() if split in about["splits"]]
    return split, there, [name for name in known if name not in there]


def held_out_text(config: RunConfig, worker: Worker, scored: Sequence[str] = ()) -> Resolved | None:
    """A run's held-out text, prepared; None where it has none.

    Args:
      config: the run.
      worker: its data process.
      scored: tasks that EVAL_MIXTURE scores already, which are left out.

    Raises:
      UserError: a bad row, …
    """
    split, there, _ = text_tasks(config, worker)
    names = [name for name in there if name not in scored]
    if not names:
        return None
    how, setting = config.evaluation, PRETRAINING if config.pretraining.mixture else "MIXTURE"
    request = setup.request_of(config, ",".join(names), split, how.max_examples)
    lengths = config.pretraining.example_lengths(request.lengths)
    return resolve(dataclasses.replace(request, lengths=lengths), worker, setting, config.model.architecture)
