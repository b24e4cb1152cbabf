import collections

import pytest
import seqio
from scipy.stats import chisquare

from flan_jax.errors import UserError
from flan_jax.tasks import UL2, UL2_MODES, Denoiser, MixtureOfDenoisers, generator
from flan_jax.tasks.drawing import RandomChoices
from flan_jax.tasks.examples import examples
from flan_jax.tasks.span_corruption import sentinels
from flan_jax.tasks.vocabularies import Tokenizer

LENGTHS = {"inputs": 96, "targets": 64}
PASSAGES = [f"the apple {number} and the pear walk, one plum sings. " * (4 + number % 9) for number in range(30)]


@pytest.fixture
def passages():
    return generator(lambda split: ({"text": passage} for passage in PASSAGES))


@pytest.mark.parametrize("shares", [(1,) * 7, (4, 1, 1, 1, 1, 2, 6)])
def test_each_denoiser_is_drawn_by_its_share_and_hides_what_it_says(shares):
    letters = "abcdefg"
    ways = [
        Denoiser(letter, one.density, one.mean_span, share)
        for letter, one, share in zip(letters, UL2, shares, strict=True)
    ]
    vocabulary = seqio.ByteVocabulary(extra_ids=100)
    task = MixtureOfDenoisers("t", None, denoisers=tuple(ways), modes={letter: letter for letter in letters})
    length, divide = task.divider(200, 200, vocabulary)
    assert length == 200  # of the end's denoiser: all but one token may be shown, after the mode's one
    found = collections.Counter()
    for number in range(1_400):
        ids = list(range(5, 5 + length))
        inputs, targets = divide(ids, RandomChoices(3, "t", 0).stream(str(number), "spans"))
        way = letters.index(vocabulary.decode(inputs[:1]))
        found[way] += 1
        noise = ways[way].noise
        marks = len(inputs) + len(targets) - 1 - length
        hidden = len(targets) - marks // 2
        if ways[way].mean_span is None:
            assert not marks and 1 <= hidden <= noise.most(length)
        else:
            assert (hidden, marks // 2) == noise.counts(length, 100)
    expected = [1_400 * share / sum(shares) for share in shares]
    assert chisquare([found[number] for number in range(7)], expected).pvalue > 0.01


def test_chunks_keep_their_borders_and_are_divided_anew_in_each_draw(passages, model):
    MixtureOfDenoisers("ul2", passages, model, modes=UL2_MODES).register()
    tokenizer = Tokenizer(model)
    marks = set(sentinels(tokenizer.vocabulary, "ul2"))
    modes = {tuple(tokenizer.encode_one(text)): mode for mode, text in UL2_MODES.items()}
    assert len(modes) == 3
    drawn = []
    for draw in (0, 1):
        rebuilt, met = {}, set()
        for one in examples("ul2", "train", LENGTHS, draw=draw):
            inputs, targets = one.inputs.tolist(), one.targets.tolist()
            assert len(inputs) <= 96 and len(targets) <= 64 and targets[-1] == 1
            (begin,) = [begin for begin in modes if tuple(inputs[: len(begin)]) == begin]
            met.add(modes[begin])
            parts, mark = collections.defaultdict(list), None
            for token in targets[:-1]:
                mark = token if token in marks else mark
                parts[mark] += [] if token in marks else [token]
            shown = inputs[len(begin) :]
            text = [token for one_ in shown for token in (parts[one_] if one_ in marks else [one_])] + parts[None]
            rebuilt.setdefault(one.id.partition("#")[0], []).append((one.id, text))
        assert met == {"R", "X", "S"}
        drawn.append([[(name, tuple(text)) for name, text in chunks] for chunks in rebuilt.values()])
        whole = [[token for _, text in chunks for token in text] for chunks in rebuilt.values()]
        assert whole == tokenizer.encode(PASSAGES)
    assert drawn[0] == drawn[1]
    first = [[one.inputs.tolist() for one in examples("ul2", "train", LENGTHS, draw=draw)] for draw in (0, 1, 0)]
    assert first[0] == first[2] != first[1]


def test_ends_of_texts_alone_need_no_sentinels(passages, model):
    MixtureOfDenoisers("ends", passages, seqio.SentencePieceVocabulary(model), (Denoiser("S", 0.5),)).register()
    assert all(
        len(one.inputs) and one.objective == "mixture_of_denoisers" for one in examples("ends", "train", LENGTHS)
    )


@pytest.mark.parametrize(
    "fields,said",
    [
        ({"denoisers": ()}, "has no denoisers"),
        ({"denoisers": (Denoiser("R", 1.5, 3),)}, r"density=1.5; a share between 0 and 1 is wanted"),
        ({"denoisers": (Denoiser("S", 0.75),)}, r"density=0.75; a share above 0 and at most 0.5"),
        ({"denoisers": (Denoiser("R", 0.15, 0.5),)}, "mean_span=0.5; at least 1 token"),
        ({"denoisers": (Denoiser("R", 0.15, 3, share=0),)}, "share=0; more than 0"),
        ({"modes": {"R": "[R]"}}, r"modes has no text for the denoisers of mode 'X' \(it has R\)"),
    ],
)
def test_faults_are_told(fields, said):
    with pytest.raises(UserError, match=said):
        MixtureOfDenoisers("t", None, **fields).register()
