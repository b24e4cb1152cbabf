import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Corpus, alpaca, pairs, task_from_file
from flan_jax.tasks.formats.places import source_at


@pytest.mark.parametrize(
    ("place", "path", "name"),
    [
        ("hugging_face:bigscience/P3", "bigscience/P3", None),
        ("hugging_face:bigscience/P3/glue_mrpc_equivalent", "bigscience/P3", "glue_mrpc_equivalent"),
        ("hugging_face:squad", "squad", None),
    ],
)
def test_a_name_on_the_hub(place, path, name):
    source = source_at(place, validation_rows=None)
    assert (source.path, source.name) == (path, name)
    assert dict(source.wanted) == {"train": "train[50:]", "validation": "train[:50]"}
    assert source_at(place) == pairs(place, "t").source and not source_at(place).wanted  # those that the hub has


def test_a_source_that_is_declared_already_is_taken_as_it_is(write):
    corpus = Corpus("alpaca", get="somewhere")
    assert alpaca(corpus, "t").source is corpus
    with pytest.raises(UserError, match="There is no file 'no/such.jsonl'"):
        alpaca("no/such.jsonl", "u")


def test_of_p3s_own_rows_the_texts_are_read(write, texts, model):
    row = {"inputs": [3, 7], "inputs_pretokenized": "Is it? \n", "targets": [5, 1], "targets_pretokenized": "\nYes"}
    assert texts(task_from_file(write("p3.jsonl", row), "t", vocabulary=model)) == [("Is it?", "Yes")]
