"""`flan-jax prepare` and `flan-jax vocab`: what a run would do first, ahead of it."""

import pathlib
from collections.abc import Sequence
from typing import Any

from flan_jax import run_data, setup
from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.config.starting_point import planned_with
from flan_jax.data.preparing import beam
from flan_jax.data.resolve import resolve
from flan_jax.data.stores.store import open_store
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, counted
from flan_jax.evaluation.check import check_eval_mixture
from flan_jax.stage_tasks import before_they_begin, check_stages


def prepare_command(
    config: RunConfig,
    runner: str = "local",
    beam_options: Sequence[str] = (),
    repair: bool = False,
    difficulty: str | None = None,
    teacher: str | None = None,
) -> int:
    """Writes the token stores of a run's training and eval mixtures, and says where they are.

    Args:
      config: the run.
      runner: "local" uses the cores of this machine, "beam" runs an Apache Beam pipeline.
      beam_options: Beam's flags.
      repair: first read what stands there to the last byte, and mend it.
      difficulty: the run whose model measures how difficult each training example is.
      teacher: the folder of a model that reads all of the run's training data, for `Distillation`.

    Raises:
      UserError: Beam is wanted and not installed, …
    """
    check(config, needs=("mixture", "length") if teacher else ("mixture",))
    flags = None
    if runner == "beam":
        beam.check_installed()
        flags = beam_options
    elif beam_options:
        raise UserError(f"{beam_options[0]!r} is no flag of `flan-jax prepare`; flags of Beam go with --runner beam")
    with setup.worker_of(config, flags) as worker:
        check_eval_mixture(config, worker)
        if repair:
            _repair(config, worker)
        if difficulty is not None:
            from flan_jax.evaluation.difficulty import measure_difficulty  # which needs JAX

            measured = measure_difficulty(config, difficulty, worker)
            print(f"{config.mixture}: the loss of {counted(measured, 'example')} is measured by {difficulty}")
        data = run_data.open_data(config, worker, draws="all", guard=True)
        if teacher:
            from flan_jax.commands import teacher as teaching  # with JAX, which preparing alone has no need of

            teaching.teach(config, data, teacher)
        counts = [task.count for task in data.resolved.tasks]
        print(
            f"{config.mixture}: {counted(len(counts), 'task')}, {counted(sum(counts), 'example')} in {config.store_dir}"
        )
        if config.eval_mixture:
            evals = resolve(setup.eval_request(config), worker, "EVAL_MIXTURE")
            total = sum(open_store(task.store()).count for task in evals.tasks)
            print(f"{config.eval_mixture}: {counted(len(evals.tasks), 'task')}, {counted(total, 'example')} to score")
    return 0


def prepare_stages(configs: Sequence[RunConfig], **options: Any) -> int:
    """Prepares the mixtures of stages, one after the other, with the options of `prepare_command`."""
    with setup.worker_of(configs[0]) as worker:
        check_stages(configs, worker)
    for config in before_they_begin(configs):
        prepare_command(config, **options)
    return 0


def _repair(config: RunConfig, worker: Worker) -> None:
    """Reads the stores of both mixtures, and those the run was planned with; says what was damaged and mends it."""
    setup.refuse_unknown(config, worker)
    setup.learn_vocabulary(config, worker)
    requests = [setup.train_request(config)]
    if config.replay.mixture:
        requests.append(setup.request_of(config, config.replay.mixture, config.data.split))
    if config.eval_mixture:
        requests.append(setup.eval_request(config))
    others = planned_with(config.run_dir)
    looked_at, damaged = 0, 0
    for number, request in enumerate(requests):
        answer = worker.call("repair", folders=[] if number else others, request=request)
        looked_at, damaged = looked_at + answer["stores"], damaged + len(answer["found"])
        for sentence in answer["found"]:
            print(f"damaged: {sentence}", flush=True)
        if answer["wanted"]:
            worker.call("prepare", wanted=answer["wanted"], request=request)
    said = f"{damaged} faults, mended" if damaged else "all sound"
    print(f"{looked_at} stores were read to the last byte: {said}", flush=True)


def vocab_command(config: RunConfig, size: int, output: str, max_examples: int) -> int:
    """Trains a SentencePiece vocabulary on the rendered text of a mixture."""
    check(config, needs=("mixture",))
    path = pathlib.Path(output)
    if path.is_dir():
        raise UserError(f"--output is {output!r}, a folder; wanted a file's name, such as vocabulary.model")
    if not path.parent.is_dir():
        raise UserError(
            f"--output is {output!r}, and there is no folder {str(path.parent)!r}; make it, or name another"
        )
    if path.exists() and path.stat().st_size and not _is_vocabulary(path):
        raise UserError(f"--output is {output!r}, a file that holds no vocabulary and is left as it is; name another")
    with setup.worker_of(config) as worker:
        setup.refuse_unknown(config, worker)
        made = worker.call(
            "vocabulary",
            mixture=config.mixture,
            split=config.data.split,
            size=size,
            output=str(pathlib.Path(output).absolute()),
            max_examples=max_examples,
            on_bad_row=config.data.on_bad_row,
        )
    pieces, sentinels = made["size"] - made["extra_ids"], made["extra_ids"]
    print(f"{output}: {pieces:,} pieces (tasks add {sentinels} sentinels); a run uses it by --vocabulary {output}")
    return 0


def _is_vocabulary(path: pathlib.Path) -> bool:
    """Whether a file is a SentencePiece model, which a new one may take the place of."""
    import sentencepiece

    try:
        return bool(sentencepiece.SentencePieceProcessor(model_file=str(path)).get_piece_size())
    except (RuntimeError, OSError):
        return False
