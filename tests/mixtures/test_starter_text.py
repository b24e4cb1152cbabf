import itertools

from flan_jax.mixtures.starter import text
from flan_jax.tasks import examples, vocabularies


def test_stories_differ_and_no_one_is_in_both_splits():
    train, validation = ({row["text"] for row in text.stories(split)} for split in ("train", "validation"))
    assert (len(train), len(validation)) == (20_000, 200) and not train & validation


def test_every_objective_reads_the_stories_in_the_rows_of_the_starter():
    lengths = {"inputs": 64, "targets": 16}
    for task in text.TASKS:
        found = list(itertools.islice(examples.examples(task.name, "validation", lengths), 200))
        whole = [one for one in found if "#" not in str(one.id)]
        objective = task.name.removeprefix("starter_text_")
        assert {one.objective for one in found} == {"mixture_of_denoisers" if objective == "ul2" else objective}
        # Of 16 target tokens a prefix LM may need all: its chunks are shorter.
        assert len(whole) > 100 or objective in ("prefix_lm", "ul2"), task.name
    encode = vocabularies.tokenizer("starter").encode_one
    story = next(text.stories("train"))["text"]
    # Words of the suite are a piece each; few others occur.
    assert len(encode(story)) < 1.5 * len(story.replace(".", " .").replace(",", " ,").split())
