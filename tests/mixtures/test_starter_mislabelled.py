"""The mislabelled suite: so many wrong answers as it says, on the rows of the small tasks, and none to be scored by."""

import seqio

from flan_jax.mixtures.starter import mislabelled, unequal
from tests.mixtures.test_starter_unequal import rows


def test_four_in_ten_trained_answers_are_another_option_and_validation_is_right():
    assert {task.name for task in seqio.get_mixture_or_task("mislabelled").tasks} == {t.name for t in mislabelled.ALL}
    for wrong, right in zip(mislabelled.ALL, unequal.SMALL, strict=True):
        answers = lambda task, split: [row[task.answer] for row in rows(task, split)]
        assert answers(wrong, "validation") == answers(right, "validation")
        given, true = answers(wrong, "train"), answers(right, "train")
        assert set(given) <= set(wrong.options)
        assert 0.25 < sum(a != b for a, b in zip(given, true, strict=True)) / len(true) < 0.55
        texts = lambda task: [{k: v for k, v in row.items() if k != task.answer} for row in rows(task, "train")]
        assert texts(wrong) == texts(right)
