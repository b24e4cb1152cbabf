"""What a run changes about the wording of its tasks, seen in their examples."""

import collections

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Template, augmenting
from flan_jax.tasks.examples import describe, examples, fingerprint

LENGTHS = {"inputs": 200, "targets": 16}


def worded(name, split="train", draws=1, **wording):
    return [one for draw in range(draws) for one in examples(name, split, LENGTHS, draw=draw, wording=wording)]


def test_so_many_templates_word_the_rows_and_every_row_still_has_one(fruits):
    only_named = Template("Name {word}.", given="number"), Template("Say {word}.", given="number")
    fruits(templates=("A {word}?", "B {word}?", "C {word}?", *only_named), options=None).register()
    opening = lambda **wording: collections.Counter(one.inputs_text.split()[0] for one in worded("fruits", **wording))
    assert set(opening()) == {"A", "B", "C", "Name", "Say"}
    assert set(opening(templates=2)) == {"A", "B", "Name", "Say"}
    assert set(opening(templates=1)) == {"A", "Name"} and sum(opening(templates=1).values()) == 40


def test_options_are_shuffled_and_words_dropped_around_the_same_answers(fruits):
    fruits(
        templates=("Is the thing {text} a fruit?\n{options}",), preprocess=_with_text, option_styles=("dashes",)
    ).register()
    plain, changed = worded("fruits", draws=3), worded("fruits", draws=3, shuffle_options=True, word_dropout=0.25)
    assert [one.targets_text for one in plain] == [one.targets_text for one in changed]
    for one in changed:
        assert one.inputs_text.startswith("Is the thing ") and " a fruit?" in one.inputs_text
        assert sorted(line for line in one.inputs_text.splitlines() if line.startswith("- ")) == ["- fruit", "- other"]
    orders = {one.inputs_text.index("- fruit") < one.inputs_text.index("- other") for one in changed}
    assert orders == {True, False}
    words = lambda found: sum(len(one.inputs_text.split()) for one in found)
    dropped = (words(plain) - words(changed)) / (len(plain) * 8)
    assert 0.2 < dropped < 0.3  # of 8 words a field
    same = worded("fruits", split="validation", word_dropout=0.9)
    assert [one.inputs_text for one in same] == [one.inputs_text for one in worded("fruits", split="validation")]


def _with_text(row):
    return {**row, "text": f"one two three four five six seven {row['word']}"}


def test_a_task_that_is_not_changed_keeps_its_fingerprint(fruits):
    fruits(templates=("{word}?",), options=None).register()
    fruits(name="more", templates=("{word}?", "{word}!")).register()
    one = {"templates": 1, "shuffle_options": True}
    assert fingerprint("fruits", one) == fingerprint("fruits") and fingerprint("more", one) != fingerprint("more")
    assert len({fingerprint("fruits", {"word_dropout": share}) for share in (0.0, 0.1, 0.2)}) == 3
    assert not describe("fruits")["random"] and describe("fruits", {"word_dropout": 0.1})["random"]
    assert describe("more")["random"] and not describe("more", {"templates": 1})["random"]


def test_inversions_are_found_by_name_pattern_and_cluster(fruits):
    for name, cluster in (("fruits", "food"), ("meals", "food"), ("tools", "things")):
        fruits(name=name, cluster=cluster, inverted_templates=(Template("Name a {label}.", "{word}"),)).register()
    fruits(name="bare").register()
    names = ["fruits", "fruits.inverted", "meals", "tools", "bare", "meals.with_inverted"]
    found = lambda wanted: {name: inversion.share for name, inversion in augmenting.inversions(names, wanted).items()}
    assert found(None) == {}
    assert found(0.3) == {"fruits.inverted": 0.3, "meals.inverted": 0.3, "tools.inverted": 0.3}
    assert found({"food": 0.2, "*als": 0.4}) == {"fruits.inverted": 0.2, "meals.inverted": 0.4}
    none = augmenting.inversions(names, {"fruits": 0.0, "tools": 0.5})
    assert augmenting.with_inversions(names, none) == ["fruits", *names[2:], "tools.inverted"]
    with pytest.raises(UserError, match=r"Augment.inverted names 'meal'.*did you mean 'meals'"):
        found({"meal": 0.3})
    with pytest.raises(UserError, match="Augment.inverted is 0.3, and none of the 1 task of MIXTURE has inverted"):
        augmenting.inversions(["bare"], 0.3)


def test_a_task_of_both_directions_has_its_share_of_the_inverted(fruits):
    inverted = (Template("Name a {label}.", "{word}"), Template("Which is a {label}?", "{word}"))
    fruits(inverted_templates=inverted, cluster="food").register()
    for share, least, most in ((0.0, 0, 0), (0.25, 0.1, 0.3), (1.0, 0.4, 0.6)):
        found = worded("fruits.with_inverted", draws=5, inverted={"food": share})
        part = sum(one.inputs_text.startswith(("Name a", "Which is a")) for one in found) / len(found)
        assert least <= part <= most
    assert fingerprint("fruits", {"inverted": 0.3}) == fingerprint("fruits")
    assert fingerprint("fruits.with_inverted", {"inverted": 0.3}) != fingerprint("fruits.with_inverted")


def test_what_cannot_be_changed_is_told(fruits):
    from flan_jax.tasks import SpanCorruption, generator

    fruits(name="several").register()
    prose = generator(lambda split: iter([{"text": "Some words."}]), num_rows={"train": 1})
    SpanCorruption("prose", prose, vocabulary="starter").register()
    assert augmenting.notes(["several", "prose"], {}) == []
    others, most = augmenting.notes(["several", "prose"], {"templates": 3})
    assert others.startswith("Augment.templates: not for prose, which no InstructionTask declares")
    assert most == "Augment.templates is 3, and no task has more than 2: all are used"
