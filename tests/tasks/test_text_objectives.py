import itertools

import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import CausalLanguageModel, PrefixLanguageModel, SpanCorruption, Tally, generator, text
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.examples import describe, examples
from flan_jax.tasks.span_corruption import SpanNoise, sentinels
from flan_jax.tasks.text_objectives import TextRecipe
from flan_jax.tasks.vocabularies import Tokenizer

LENGTHS = {"inputs": 32, "targets": 16}
PASSAGES = [f"the apple {number} and the pear walk, one plum sings. " * (1 + number % 7) for number in range(20)]


@pytest.fixture
def passages():
    return generator(lambda split: ({"text": passage} for passage in PASSAGES))


def restored(inputs, targets, extra):
    """The text's ids, put together again from what is shown and what is hidden."""
    hidden, key = {}, None
    for one in targets:
        if one in extra:
            key = one
            hidden[key] = []
        else:
            hidden[key].append(one)
    return list(itertools.chain.from_iterable(hidden.get(one, [one]) for one in inputs))


@pytest.mark.parametrize("density", [0.15, 0.5])
def test_what_is_hidden_and_what_is_shown_make_the_text(passages, model, density):
    SpanCorruption("spans", passages, model, noise_density=density).register()
    extra = sentinels(Tokenizer(model).vocabulary, "spans")
    assert extra[0] == 499 and extra[-1] == 400
    ids = {f"train:{n}": ids for n, ids in enumerate(Tokenizer(model).encode(PASSAGES))}
    tally = Tally()
    found = list(examples("spans", "train", LENGTHS, tally=tally))
    rebuilt = {}
    for one in found:
        assert len(one.inputs) <= 32 and len(one.targets) <= 16 and one.targets[-1] == 1
        used = [token for token in one.targets.tolist() if token in extra]
        assert used == [token for token in one.inputs.tolist() if token in extra] == extra[: len(used)]
        assert one.inputs[0] not in extra and used
        rebuilt.setdefault(one.id.partition("#")[0], []).extend(
            restored(one.inputs.tolist(), one.targets[:-1].tolist(), extra)
        )
    assert rebuilt == ids and tally.kept == tally.read == len(found) > 20
    noise = sum(len(one.targets) - 1 - sum(t in extra for t in one.targets.tolist()) for one in found)
    assert noise / sum(map(len, ids.values())) == pytest.approx(density, abs=0.04)
    assert found[0].objective == "span_corruption" and describe("spans")["eval_kind"] == "loss"


def test_chunks_fill_the_feature_lengths():
    task = SpanNoise()
    for inputs, targets in ((512, 114), (64, 16), (8, 8)):
        chunk = task.chunk(inputs, targets, 100)
        noise, spans = task.counts(chunk, 100)
        assert chunk - noise + spans <= inputs and noise + spans <= targets
        noise, spans = task.counts(chunk + 1, 100)
        assert chunk + 1 - noise + spans > inputs or noise + spans > targets
    assert task.chunk(512, 114, 100) > 550  # T5's own figure for 512 inputs is 568


def test_spans_differ_between_draws_and_stay_within_one(passages, model):
    SpanCorruption("spans", passages, model).register()
    drawn = [[one.inputs.tolist() for one in examples("spans", "train", LENGTHS, draw=draw)] for draw in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]


def test_never_more_spans_than_sentinels():
    task = SpanNoise(0.5, 1)
    inputs, targets = task.corrupt(list(range(10, 50)), RandomChoices(0, "t", 0).stream("e", "spans"), [99, 98, 97])
    assert [one for one in inputs if one > 90] == [99, 98, 97] and len(targets) == 20 + 3


def test_every_division_has_the_right_sizes():
    task = SpanNoise(0.3, 2)
    stream = RandomChoices(0, "t", 0).stream("e", "spans")
    for length in range(2, 60):
        ids = list(range(10, 10 + length))
        inputs, targets = task.corrupt(ids, stream, list(range(999, 899, -1)))
        assert sorted(one for one in inputs + targets if one < 800) == ids


def test_a_prefix_and_the_rest_make_the_text(passages, model):
    PrefixLanguageModel("lm", passages, model).register()
    rebuilt: dict[str, list[int]] = {}
    points = set()
    for one in examples("lm", "train", LENGTHS):
        assert 0 < len(one.inputs) <= 32 and 1 < len(one.targets) <= 16 and one.targets[-1] == 1
        rebuilt.setdefault(one.id.partition("#")[0], []).extend([*one.inputs.tolist(), *one.targets[:-1].tolist()])
        points.add(len(one.inputs))
    assert list(rebuilt.values()) == Tokenizer(model).encode(PASSAGES) and len(points) > 5


def test_seqio_gives_the_same_ids(passages, model):
    SpanCorruption("spans", passages, model).register()
    PrefixLanguageModel("lm", passages, model).register()
    for name in ("spans", "lm"):
        ours = list(examples(name, "train", LENGTHS))
        dataset = seqio.get_mixture_or_task(name).get_dataset(LENGTHS, "train", shuffle=False)
        for one, other in zip(ours, dataset.as_numpy_iterator(), strict=True):
            assert one.id == other["id"].decode()
            assert one.inputs.tolist() == other["inputs"].tolist() and one.targets.tolist() == other["targets"].tolist()


def test_texts_too_short_to_hide_anything_are_dropped(model):
    texts = ["", "a", "the plum and the stone", "   \n \n  "]
    rows = generator(lambda split: ({"text": text} for text in texts))
    SpanCorruption("spans", rows, model).register()
    CausalLanguageModel("lm", rows, model).register()
    for name in ("spans", "lm"):
        tally = Tally()
        assert [one.id for one in examples(name, "train", LENGTHS, tally=tally)] == ["train:2"]
        assert (tally.read, tally.kept, tally.dropped) == (4, 1, 3)


def test_a_uniform_split_always_fits_and_inputs_end_where_they_are_to(passages, model):
    shared = {"split": "uniform", "add_eos_to_inputs": True}
    PrefixLanguageModel("lm", passages, model, **shared).register()
    rebuilt: dict[str, list[int]] = {}
    for one in examples("lm", "train", LENGTHS):
        assert 1 < len(one.inputs) <= 32 and 1 < len(one.targets) <= 16 and one.inputs[-1] == one.targets[-1] == 1
        rebuilt.setdefault(one.id.partition("#")[0], []).extend([*one.inputs[:-1].tolist(), *one.targets[:-1].tolist()])
    assert list(rebuilt.values()) == Tokenizer(model).encode(PASSAGES)


def test_declarations_of_old_keep_their_stores():
    spans, prefix = SpanCorruption("t", None), PrefixLanguageModel("t", None, field="body", version="2")
    assert TextRecipe(spans).shaping() == ("t", "span_corruption", 0.15, 3.0, "text", "")
    assert TextRecipe(prefix).shaping() == ("t", "prefix_lm", "body", "2")
    ended = SpanCorruption("t", None, vocabulary="starter", add_eos_to_inputs=True)
    uniform = PrefixLanguageModel("t", None, field="body", version="2", split="uniform")
    assert TextRecipe(ended).shaping() != TextRecipe(spans).shaping()
    assert TextRecipe(uniform).shaping() != TextRecipe(prefix).shaping()


def test_faults_are_told(passages, model):
    with pytest.raises(UserError, match="noise_density=1.5"):
        SpanCorruption("t", passages, model, noise_density=1.5).register()
    with pytest.raises(UserError, match="mean_span=0.5"):
        SpanCorruption("t", passages, model, mean_span=0.5).register()
    with pytest.raises(UserError, match=r"split='uniformly'; it is one of filling, uniform; did you mean 'uniform'"):
        PrefixLanguageModel("t", passages, model, split="uniformly").register()
    SpanCorruption("bare", passages, seqio.SentencePieceVocabulary(model)).register()
    with pytest.raises(UserError, match=r"no extra ids for them; take another objective \(PrefixLanguageModel"):
        list(examples("bare", "train", LENGTHS))
    SpanCorruption("fieldless", passages, model, field="body").register()
    with pytest.raises(UserError, match="names the field 'body', the row has text"):
        list(examples("fieldless", "train", LENGTHS))
    SpanCorruption("tight", passages, model).register()
    with pytest.raises(UserError, match="fits no text"):
        list(examples("tight", "train", {"inputs": 1, "targets": 2}))


def test_a_real_book(data, model):
    SpanCorruption("book", text(data / "plain_text" / "frankenstein.txt", validation_rows=20), model).register()
    found = list(examples("book", "train", {"inputs": 128, "targets": 32}))
    assert len(found) > 700 and len({one.id for one in found}) == len(found)
    assert max(len(one.inputs) for one in found) > 120
