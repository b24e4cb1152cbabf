import numpy as np
import pytest

from flan_jax.inference.stops import Stops

PIECES = ["", "a", "b", "ab", "EN", "D.", "\n", "c\n", "\nQ", ":"]


def text_of(ids):
    return "".join(PIECES[i] for i in ids)


@pytest.mark.parametrize(
    ("stops", "ids", "count", "text"),
    [
        (["END."], [1, 4, 5, 2], 3, "a"),  # over two tokens
        (["bE"], [3, 4, 5, 2], 2, "a"),  # from the middle of one to the middle of the next
        (["\nQ:"], [1, 6, 7, 8, 9, 1], 5, "a\nc\n"),
        (["zz"], [1, 2, 3], 3, "abab"),
        (["b", "ab"], [1, 3, 2], 2, "a"),  # the first in the text ends it, however long
        (["a"], [1, 1, 1], 1, ""),
        ([], [1, 2], 2, "ab"),
    ],
)
def test_an_answer_ends_at_the_first_stop(stops, ids, count, text):
    found = Stops(stops, text_of)
    assert found.length(np.array(ids)) == count
    assert found.without(text_of(ids[:count])) == text
    # The count is the least that holds a stop.
    held = [n for n in range(len(ids) + 1) if any(stop in text_of(ids[:n]) for stop in stops)]
    assert count == (held[0] if held else len(ids))
    assert found.ended(np.array([[*ids, -1, -1]])).tolist() == [bool(held)]
