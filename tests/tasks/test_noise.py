import itertools

from flan_jax.tasks.noise import with_typos


def test_every_kind_of_error_is_made_and_only_in_words():
    text = "Please read ISBN-13, 4711, the café\u0301s of a1b2 and https://example.org/one by Ann, O'Hara (here)!"
    stream = (number for n in itertools.count() for number in (0, 7919 * n))
    found = [with_typos("keyboard", 1.0, stream) for _ in range(500)]
    by_length = {length: [one for one in found if len(one) == length] for length in (7, 8, 9)}
    assert min(map(len, by_length.values())) > 30  # one left out; swapped, of another case or beside it; doubled
    same = by_length[8]
    assert any(one.lower() == "keyboard" for one in same) and any(sorted(one) == sorted("keyboard") for one in same)
    assert any(one[1:] == "eyboard" and one[0] in "jl" for one in same) and "keyboard" not in found
    spoilt = with_typos(text, 1.0, iter(range(1, 99)))
    for kept in ("ISBN-13,", "4711,", "a1b2", "https://example.org/one", "by"):
        assert f" {kept} " in spoilt
    assert not {"Please", "the", "and"} & set(spoilt.split()) and spoilt.endswith("(here)!")
    assert with_typos(text, 0.0, itertools.count()) == text
