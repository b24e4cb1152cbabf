"""`flan-jax inspect`: examples as the model sees them."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from flan_jax import run_data, setup
from flan_jax.commands.dropped import show_dropped
from flan_jax.config.checks import check
from flan_jax.config.kept import CONFIG_FILE, load_run
from flan_jax.config.run_config import RunConfig
from flan_jax.data import registrations
from flan_jax.data.lanes import LanesLoader
from flan_jax.data.loader import Loader, Reader
from flan_jax.data.planning import plan as plans
from flan_jax.data.planning.row_index import RowIndex
from flan_jax.data.planning.step_order import StepOrder
from flan_jax.data.rows import RowShape
from flan_jax.errors import UserError, counted
from flan_jax.plan_text import FORMS, read_as
from flan_jax.run_folder import read_plan
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text.codec import Codec


def inspect_command(
    config: RunConfig,
    task: str | None = None,
    step: int | None = None,
    num: int = 3,
    split: str | None = None,
    dropped: bool = False,
) -> int:
    """Prints examples: of a task straight from its source, what a step trains on, or what hygiene leaves out.

    Args:
      config: the run.
      task: a task (or mixture) to render anew, without any store.
      step: which step's rows, counted from 1 as in metrics.jsonl; by default the first.
      num: how many examples, or rows.
      split: the split of `task`; by default the one trained on.
      dropped: show what the run's `Hygiene` settings leave out, of `task` or of all.
    """
    if dropped:
        return show_dropped(config, task, num)
    step = 1 if step is None else step
    if step < 1:
        raise UserError(f"--step {step}: steps count from 1, as in metrics.jsonl")
    if task is not None:
        return _inspect_task(config, task, split or config.data.split, num)
    folder = pathlib.Path(config.run_dir)
    if (folder / "plan.json").exists():
        return _inspect_run(config, folder, step, num)
    check(config, needs=("mixture",))
    with setup.worker_of(config) as worker:
        data = run_data.open_data(config, worker)
        if config.steps is not None or config.epochs is not None:
            _check_step(step, data.steps(config), "the run")
        facts = {t.name: t.about for t in data.resolved.tasks}
        _print_rows(data.loader(config), data.codec, step, num, facts)
    return 0


def _inspect_task(config: RunConfig, task: str, split: str, num: int) -> int:
    """Renders a few examples from the source; nothing is stored."""
    with setup.worker_of(config) as worker:
        registrations.refuse_unknown(worker, {"--task": task}, ask=True)
        setup.learn_vocabulary(config, worker)
        lengths = dict(config.feature_lengths)
        examples = worker.call("preview", task=task, split=split, lengths=lengths, num=num, seed=config.seed)
    if not examples:
        raise UserError(
            f"{task!r} gives no example in split {split!r}: it has no rows there, or all of them are left out; "
            "`flan-jax plan` counts them, --split NAME looks at another split"
        )
    if any(example["from_sample"] for example in examples):
        print(
            "the data are not at hand (see Data.corpora): a row that its declaration makes up, drawn again and again\n"
        )
    for example in examples:
        print(
            f"=== {example['task']}  example {example['id']}  template {example['template']}  {example['objective']}"
            f"{'' if example['form'] == 'plain' else ', written ' + FORMS[example['form']]}"
        )
        print(f"inputs:  {example['inputs_text']}")
        print(f"targets: {example['targets_text']}")
        if example["options"]:
            print(f"options: {example['options']}  (answer {example['answer']})")
        print(f"input ids:  {example['inputs']}")
        print(f"target ids: {example['targets']}")
        print("tokens (* bears loss): " + _marked(example["targets_pieces"], example["weights"]))
        if example["cut_tokens"]:
            print(f"cut to fit: {example['cut_tokens']} tokens of a field")
        print()
    return 0


def _inspect_run(config: RunConfig, folder: pathlib.Path, step: int, num: int) -> int:
    """What a step of an existing run trains on, from its plan file and its stores; the tasks are not needed."""
    kept = read_plan(folder)
    if steps := config.steps or kept["table"].get("steps"):
        _check_step(step, steps, str(folder))
    shape = setup.shape_of(config)
    _check_same(config, folder, kept, shape.capacities)
    first = _kept_loader(folder, kept, shape, config.batch_size)
    loader: Loader | LanesLoader = first
    if lanes := kept.get("lanes"):
        text_shape = setup.text_shape_of(config)
        beside = [_kept_loader(folder, one, text_shape, one["batch_size"]) for one in lanes["beside"]]
        loader = LanesLoader([first, *beside], StepOrder.from_description(lanes["order"]))
    described = vocabulary.kept(folder)
    if described is None:
        raise UserError(
            f"{folder} has a plan but no vocabulary.json; it was not written whole: run `flan-jax train` again"
        )
    if {"vocabulary", "forms"} <= set(kept["table"]):  # which older runs lack
        print(read_as(kept["table"]["vocabulary"], kept["table"]["forms"]))
    _print_rows(loader, Codec(described), step, num, {})
    return 0


def _kept_loader(folder: pathlib.Path, kept: Mapping[str, Any], shape: RowShape, batch_size: int) -> Loader:
    """Batches of a plan that a run's folder keeps, as far as they are looked at."""
    plan = plans.Plan.from_description(kept["plan"])
    reader = Reader(kept["folders"], shape, kept.get("selections", ()))
    index = RowIndex(plan, reader.lengths, folder / f"rows-{plan.fingerprint}.index")
    return Loader(plan, reader, batch_size, index=index)


def _check_same(
    config: RunConfig, folder: pathlib.Path, kept: Mapping[str, Any], capacities: Mapping[str, int]
) -> None:
    """Refuses settings by which the rows shown would be none that the run trains on."""
    mixture = load_run(folder).mixture if (folder / CONFIG_FILE).is_file() else config.mixture
    compared = {
        "MIXTURE": (mixture, config.mixture),
        "BATCH_SIZE": (kept["table"]["batch_size"], config.batch_size),
        "FEATURE_LENGTHS, in tokens of a row,": (kept["plan"]["capacities"], dict(capacities)),
        "Pretraining.rows": (
            kept["lanes"]["beside"][0]["rows"] if "lanes" in kept else None,
            config.pretraining.rows if config.pretraining.apart else None,
        ),
    }
    changed = [f"{name} was {was!r}, is {now!r}" for name, (was, now) in compared.items() if was != now]
    if changed:
        raise UserError(
            f"{folder} was planned by other settings: {'; '.join(changed)}; leave those out to see what it trained on, "
            "or name another --run_dir"
        )


def _check_step(step: int, steps: int, run: str) -> None:
    if step > steps:
        raise UserError(f"--step is {step}, and {run} has {counted(steps, 'step')}; give one of 1 to {steps}")


def _print_rows(every: Loader | LanesLoader, codec: Codec, step: int, num: int, facts: dict[str, Any]) -> None:
    """Prints the first `num` rows of a step: a drawing of each row, then its examples."""
    loader, within = every.at(step - 1)
    rows = range(min(num, loader.batch_size))
    contents = loader.contents(within, rows)
    capacity = " + ".join(f"{size} {name}" for name, size in loader.reader.shape.capacities.items())
    print(f"step {step}: rows {rows.start} to {rows.stop - 1} of {loader.batch_size}, {capacity} tokens each")
    for number, (row, segments) in enumerate(zip(contents, loader.segments(contents), strict=True)):
        print(f"\n=== row {number}: {counted(len(row), 'example')}")
        for name, size in loader.reader.shape.capacities.items():
            lengths = [len(s.inputs) * (name != "targets") + len(s.targets) * (name != "inputs") for s in segments]
            print(f"{name:>8} {draw_row(lengths, size)}")
        for place, ((task, at, draw, epoch), segment) in enumerate(zip(row, segments, strict=True), 1):
            store = loader.store(task, draw)
            stored = store[at]
            print(
                f"--- segment {place}: {loader.plan.tasks[task].name}  example {stored.id}  epoch {epoch}  "
                f"draw {draw}  template {stored.template}  {store.manifest.get('objective', '')}"
            )
            weights = [1.0] * len(segment.targets) if segment.weights is None else segment.weights.tolist()
            print(f"inputs  [{len(segment.inputs)}]: {codec.text(segment.inputs)}")
            print(f"   ids: {segment.inputs.tolist()}")
            print(f"targets [{len(segment.targets)}]: {codec.text(segment.targets)}")
            print(f"   ids: {segment.targets.tolist()}")
            print("   tokens (* bears loss): " + _marked(codec.pieces(segment.targets), weights))


def draw_row(lengths: Sequence[int], capacity: int, width: int = 64) -> str:
    """Draws how segments share a row; dots are padding.

    >>> draw_row([30, 20], 64, width=32)
    '|111111111111111|2222222222|....... 50/64'
    """
    scale = min(1.0, width / capacity)
    drawn = "".join(
        "|" + (str(n % 10) * max(1, round(length * scale))) for n, length in enumerate(lengths, 1) if length
    )
    rest = max(0, round((capacity - sum(lengths)) * scale))
    return f"{drawn}|{'.' * rest} {sum(lengths)}/{capacity}"


def _marked(pieces: Sequence[str], weights: Sequence[float]) -> str:
    shown = (piece.replace("\n", "\\n") for piece in pieces)
    return " ".join(f"{piece}{'*' if weight > 0 else ''}" for piece, weight in zip(shown, weights, strict=True))
