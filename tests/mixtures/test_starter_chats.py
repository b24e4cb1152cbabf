"""Daily talks of the starter suite: what is scored is not trained on, and all of it fits a row."""

from flan_jax.mixtures.starter import chats
from flan_jax.tasks.vocabularies import tokenizer


def talks(task, split):
    return [[turn["content"] for turn in row["messages"]] for _, row in task.source.rows(split)]


def test_no_opening_is_in_both_splits_and_none_is_there_twice():
    for task in chats.TASKS:
        found = {split: [talk[0] for talk in talks(task, split)] for split in ("train", "validation")}
        assert [len(set(openings)) for openings in found.values()] == [1_000, 100]
        assert not set(found["train"]) & set(found["validation"])


def test_what_is_answered_follows_from_what_was_said():
    pet, trip, meal = (talks(task, "validation")[0] for task in chats.TASKS)
    assert pet[1].split()[1].strip("!") in pet[0] and pet[3].split()[5].strip(",") in pet[2]
    assert trip[1].split()[-1].strip("?") in trip[0] and trip[3].split()[2] in trip[2]
    assert meal[1].split()[2] in meal[0] and meal[3].split()[3] in meal[0] and meal[3].split()[1] in meal[2]


def test_both_answers_of_a_talk_fit_the_starters_row():
    encode = tokenizer("starter").encode_one
    for task in chats.TASKS:
        for talk in talks(task, "train")[:200]:
            asked = "Question: {}\nAnswer: {}\nQuestion: {}\nAnswer:".format(*talk)
            assert len(encode(asked)) <= 64 and max(len(encode(talk[1])), len(encode(talk[3]))) < 16
