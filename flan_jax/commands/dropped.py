"""`flan-jax inspect --dropped`: the rows that hygiene leaves out of a run, and why each."""

import itertools
from typing import Any

from flan_jax import run_data, setup
from flan_jax.config.checks import check
from flan_jax.config.run_config import RunConfig
from flan_jax.data.resolve import resolve
from flan_jax.data.selection import dropped
from flan_jax.data.stores.store import Store, open_store
from flan_jax.errors import UserError, counted, nearest
from flan_jax.text.codec import Codec

_LETTERS = 300  # of a text that are shown


def show_dropped(config: RunConfig, task: str | None, num: int) -> int:
    """Prints rows that a run's `Hygiene` settings leave out or report.

    Args:
      config: the run.
      task: of this task alone.
      num: how many rows of each task.

    Raises:
      UserError: the settings leave nothing out, or the mixture has no such task.
    """
    check(config, needs=("mixture",))
    if not config.hygiene.selects:
        raise UserError(
            "--dropped shows what Hygiene leaves out, and none of its settings asks for anything; set "
            "Hygiene.duplicates = 'exact', say"
        )
    with setup.worker_of(config) as worker:
        setup.learn_vocabulary(config, worker)
        whole = resolve(setup.train_request(config), worker)
        folders = {one.name: one.store() for one in whole.tasks}
        if task is not None and task not in folders:
            raise UserError(f"--task is {task!r}, no task of {config.mixture!r}{nearest(task, folders)}")
        _, selection = run_data.selected(config, whole, worker)
        assert selection is not None
        codec = Codec(whole.vocabulary, worker.call, config.mixture)
        for name, rows in itertools.groupby(dropped(selection.dropped, task), key=lambda row: row["task"]):
            for row in itertools.islice(rows, num):
                _print_row(row, name, folders, codec)
    left_out, reported = (
        sum(sum(one[key].values()) for one in selection.tasks if task in (None, one["name"]))
        for key in ("left_out", "reported")
    )
    also = f"; {reported:,} more reported" if reported else ""
    print(
        f"{counted(left_out, 'example')} of {task or config.mixture} left out{also}; all of them: {selection.dropped}"
    )
    return 0


def _print_row(row: dict[str, Any], name: str, folders: dict[str, str], codec: Codec) -> None:
    more = {"words": "{} words", "similarity": "{:.0%} alike", "language": "{}"}
    facts = ", ".join(form.format(row[key]) for key, form in more.items() if key in row)
    kind = "" if row["left_out"] else ", reported and kept"
    print(f"=== {name}  example {row['id']}: {row['why']}{f' ({facts})' if facts else ''}{kind}")
    print(f"    {_text(open_store(folders[name]), row['index'], codec)}")
    if (other := row.get("with")) is None:
        return
    if "span" in row:
        many = f", which {counted(row['evals'], 'eval row')} have" if row["evals"] > 1 else ""
        print(f"    shares{many}: {_short(row['span'])}")
    text = other["text"] if "text" in other else _text(open_store(folders[other["task"]]), other["index"], codec)
    print(f"  with {other['task']}  {other.get('place', other['id'])}")
    print(f"    {_short(text)}")


def _text(store: Store, index: int, codec: Codec) -> str:
    kept = store[index]
    return _short(f"{codec.text(kept.inputs)} -> {codec.text(kept.targets)}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]} …"
