import pytest

from flan_jax.tasks import InstructionTask, generator
from tests.conftest import WORDS


@pytest.fixture(autouse=True)
def alone(own_registries):
    """Each test sees what it registers itself."""


@pytest.fixture(scope="session")
def data(real_data):
    """The folder of real data, by a short name."""
    return real_data


def fruit_rows(split):
    for number in range(40 if split == "train" else 12):
        word = WORDS[number % len(WORDS)]
        yield {"word": word, "label": ("fruit", "other")[number % 3 > 0], "number": number}


@pytest.fixture
def fruits(model):
    """Declares a small task of two options; keyword arguments replace fields."""

    def declare(**fields):
        declared = dict(
            name="fruits",
            source=generator(fruit_rows, num_rows={"train": 40, "validation": 12}),
            templates=("{number}: is {word} a fruit?\n{options}", "What is {word} {number}? {options}"),
            options=("fruit", "other"),
            answer="label",
            vocabulary=model,
        )
        return InstructionTask(**declared | fields)

    return declare
