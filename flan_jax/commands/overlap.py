"""`flan-jax tasks --overlap TRAIN EVAL`: what the rows of two mixtures share, shown row by row."""

from typing import Any

from flan_jax import setup, tables
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import counted

_SPAN = 200  # letters of a span that are shown


def overlap_report(config: RunConfig, trained: str, scored: str, ngram: int, num: int) -> int:
    """Prints which rows of a training mixture share words in a row, or a whole prompt, with rows of an eval mixture.

    Nothing is prepared. A count alone tells little: a span that many eval rows have is a phrase that tasks are written
    in, so of each pair of tasks the longest spans are shown with both rows.

    Args:
      config: the run, whose splits are compared.
      trained: the training mixture or task.
      scored: the eval mixture or task.
      ngram: words in a row that are too many to share.
      num: how many rows are shown of each pair of tasks.
    """
    splits = {"split": config.data.split, "eval_split": config.evaluation.split}
    with setup.worker_of(config) as worker:
        setup.learn_vocabulary(config, worker)
        found = worker.call("overlaps", trained=trained, scored=scored, ngram=ngram, shown=num, **splits)
    pairs = found["pairs"]
    if pairs:
        heads = ["trained", "scored", "rows", "of them whole prompts", "eval rows"]
        rows = [[pair["trained"], pair["scored"], pair["rows"], pair["whole"], pair["evals"]] for pair in pairs]
        print(tables.table(heads, rows))
    for pair in pairs:
        print(f"\n=== {pair['trained']} ({splits['split']}) and {pair['scored']} ({splits['eval_split']})")
        for one in pair["shown"]:
            _print_overlap(one)
    for name in found["skipped"]:
        print(f"\nnot compared: task {name!r}, whose data cannot be had")
    total = sum(pair["rows"] for pair in pairs)
    print(
        f"\n{counted(total, 'row')} of {found['rows']:,} in {trained!r} {'shares' if total == 1 else 'share'} {ngram} "
        f"words in a row, or a whole prompt, with {counted(found['evals'], 'row')} of {scored!r}"
    )
    return 0


def _print_overlap(one: dict[str, Any]) -> None:
    span = one["span"] if len(one["span"]) <= _SPAN else f"{one['span'][:_SPAN]} …"
    what = "the whole prompt" if one["why"] == "eval row" else counted(one["words"], "word")
    many = f", which {counted(one['evals'], 'eval row')} have" if one["evals"] > 1 else ""
    print(f"--- {what}{many}: {span}")
    for name, row in (("trained", one["row"]), ("scored", one["eval"])):
        print(f"    {name} {row['place']}: {' '.join(row['text'].split())}")
