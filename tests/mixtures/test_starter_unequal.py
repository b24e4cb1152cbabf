import re

import seqio

from flan_jax.mixtures.starter import suite, unequal
from flan_jax.tasks.examples import examples
from flan_jax.tasks.rates import rate_of

OF_THE_SUITE = {task.name: task for task in suite.TASKS}


def rows(task, split):
    return [row for _, row in task.source.rows(split)]


def test_sizes_are_as_told_and_count_alike():
    counts = {task.name: len(rows(task, "train")) for task in (*unequal.LARGE, *unequal.SMALL)}
    assert sorted(counts.values()) == [80] * 4 + [4_000] * 4
    assert all(task.source.num_rows("train") == counts[task.name] for task in unequal.SMALL)
    assert rate_of("unequal", counts) == counts  # also of those that have caps in the suite
    assert {task.name for task in seqio.get_mixture_or_task("unequal_eval").tasks} == set(counts)


def test_a_small_task_is_one_of_the_suite_with_its_first_rows_alone():
    for task in unequal.SMALL:
        whole = OF_THE_SUITE[task.name.removeprefix("few_")]
        assert rows(task, "train") == rows(whole, "train")[:80]
        assert rows(task, "validation") == rows(whole, "validation")
        assert (task.templates, task.options, task.cluster) == (whole.templates, whole.options, whole.cluster)


def test_few_rows_tell_what_a_small_task_asks_for():
    """Every answer occurs, and every day, number and word of praise or blame that it is told from."""
    for task in unequal.SMALL:
        trained, scored = rows(task, "train"), rows(task, "validation")
        assert {row[task.answer] for row in scored} <= {row[task.answer] for row in trained}
    words = lambda split: {word for row in rows(unequal.SMALL[-1], split) for word in re.findall(r"\w+", row["review"])}
    assert words("validation") <= words("train")


def test_every_member_gives_whole_examples():
    for member in seqio.get_mixture_or_task("unequal").tasks:
        found = list(examples(member.name, "train", {"inputs": 64, "targets": 16}, on_long="refuse", limit=10))
        assert len(found) == 10 and all(len(one.inputs) and len(one.targets) > 1 for one in found)
