"""Augmented tasks in a mixture: their rates, their stores, and what stays as it was."""

import dataclasses

import pytest

from flan_jax.data.augment_config import AugmentConfig
from flan_jax.data.request import Request
from flan_jax.data.resolve import resolve
from flan_jax.errors import UserError


@pytest.fixture
def resolved(tmp_path, worker):
    """Resolves a mixture's first rows, augmented."""

    def made(mixture, **augment):
        request = Request(mixture, "train", {"inputs": 64, "targets": 16}, 0, str(tmp_path), limit=30)
        return resolve(dataclasses.replace(request, augment=AugmentConfig(**augment)), worker)

    return made


def test_inverted_tasks_join_at_a_share_of_their_tasks_rates(resolved):
    rates = lambda **augment: {t.name: t.rate for t in resolved("review_sentiment,review_topic", **augment).tasks}
    assert rates() == {"review_sentiment": 30.0, "review_topic": 30.0}
    found = rates(inverted=0.3)
    assert found == pytest.approx({"review_sentiment": 30, "review_topic": 30, "review_sentiment.inverted": 9})
    own = {"review_sentiment": 30, "review_sentiment.inverted": 30}
    assert {t.name: t.rate for t in resolved("review_sentiment,review_sentiment.inverted").tasks} == own
    both = resolved("review_sentiment,review_sentiment.inverted", inverted={"reviews": 0.5})
    assert [t.rate for t in both.tasks] == [30, 15]
    none = resolved("review_sentiment,review_sentiment.inverted", inverted=0.0)
    assert [t.name for t in none.tasks] == ["review_sentiment"]
    with pytest.raises(UserError, match="Augment.inverted names 'revews'.*did you mean 'reviews'"):
        resolved("review_sentiment", inverted={"revews": 0.5})


def test_only_what_is_worded_otherwise_is_prepared_anew(resolved, capsys):
    plain = {task.name: task for task in resolved("theirs").tasks}
    changed = {task.name: task for task in resolved("theirs", shuffle_options=True).tasks}
    assert "Augment.shuffle_options: not for shout, which no InstructionTask declares" in capsys.readouterr().err
    assert changed["shout"].folder == plain["shout"].folder
    assert changed["parity"].trained_as != plain["parity"].trained_as
    assert changed["parity"].draws == plain["parity"].draws == 1  # its templates show no options: nothing is random
    dropped = {task.name: task for task in resolved("theirs", word_dropout=0.1).tasks}
    assert dropped["parity"].draws == 8


def test_what_is_no_share_is_told_with_its_setting():
    faults = AugmentConfig({"nli": 1.5, "qa": 0.2}, templates=0, word_dropout=1.0).faults()
    assert faults == [
        "inverted is 1.5 for 'nli', wanted a share of the task's rate from 0 to 1",
        "templates is 0, wanted 1 or more, or None for all",
        "word_dropout is 1.0, wanted a share of the words from 0 to below 1",
    ]
    assert AugmentConfig(inverted=-0.1).faults()[0].startswith("inverted is -0.1, wanted")
    assert not AugmentConfig() and AugmentConfig(inverted=0.0)
