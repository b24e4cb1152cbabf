import pathlib

import pytest
import seqio

from flan_jax.tasks import InstructionTask, generator, train_sentencepiece

WORDS = tuple("apple pear plum stone river cloud walk sing quick slow red green blue one two three".split())  # noqa: SIM905
SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def own_registries(monkeypatch):
    """Each test sees what it registers itself."""
    from flan_jax.tasks import foreign, registry

    monkeypatch.setattr(seqio.TaskRegistry, "_REGISTRY", {})
    monkeypatch.setattr(seqio.MixtureRegistry, "_REGISTRY", {})
    monkeypatch.setattr(registry, "_RECIPES", {})
    monkeypatch.setattr(foreign, "_VERSIONS", {})


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A vocabulary of 400 pieces that knows some English words."""
    path = tmp_path_factory.mktemp("vocabulary") / "small.model"
    texts = [f"{a} {b} is it so?\nThe {a} and a {b}, {c}." for a in WORDS for b in WORDS for c in WORDS[:4]]
    train_sentencepiece(texts, 400, path)
    return str(path)


@pytest.fixture(scope="session")
def data():
    """The folder of real data, which is no part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data: {SHARED.name} is not beside the project")
    return SHARED


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
