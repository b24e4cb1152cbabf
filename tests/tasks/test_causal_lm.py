import numpy as np
import pytest
import seqio

from flan_jax.data.rows import RowShape, Segment, assemble
from flan_jax.tasks import CausalLanguageModel, Tally, describe, generator, text
from flan_jax.tasks.examples import examples
from flan_jax.tasks.vocabularies import Tokenizer

LENGTHS = {"inputs": 24, "targets": 16}
PASSAGES = [f"the apple {number} and the pear walk, one plum sings. " * (1 + number % 7) for number in range(20)]


@pytest.fixture
def chunks(model):
    source = generator(lambda split: ({"text": passage} for passage in PASSAGES))
    CausalLanguageModel("lm", source, model).register()
    return list(examples("lm", "train", LENGTHS))


def test_all_of_a_text_is_learnt_and_only_its_end_ends(chunks, model):
    tokenizer = Tokenizer(model)
    texts: dict[str, list] = {}
    for one in chunks:
        assert not len(one.inputs) and one.weights is None and one.objective == "causal_lm"
        texts.setdefault(one.id.partition("#")[0], []).append(one)
    for passage, parts, ids in zip(PASSAGES, texts.values(), tokenizer.encode(PASSAGES), strict=True):
        assert [token for one in parts for token in one.targets.tolist()] == [*ids, 1], passage
        assert all(1 not in one.targets for one in parts[:-1])
        assert max(len(one.targets) for one in parts) <= sum(LENGTHS.values())
        assert [tokenizer.decode(one.targets) for one in parts] == [one.learnt[0] for one in parts]
    assert max(len(one.targets) for one in chunks) > 30  # a chunk fills a decoder's row, not the targets' part of it
    assert describe("lm")["random"] is False  # so that one draw is prepared


def test_chunks_lie_in_a_decoders_rows_each_token_with_its_loss(chunks):
    one, other = next(c for c in chunks if len(c.targets) < 25), next(c for c in chunks if len(c.targets) > 25)
    rows = [[Segment(c.inputs, c.targets)] for c in (one, other)]
    batch = assemble(rows, RowShape("decoder", 24, 16))
    for row, chunk in enumerate((one, other)):
        count = len(chunk.targets)
        assert batch["decoder_target_tokens"][row, :count].tolist() == chunk.targets.tolist()
        assert batch["decoder_input_tokens"][row, :count].tolist() == [0, *chunk.targets[:-1].tolist()]
        assert batch["decoder_loss_weights"][row].tolist() == [1.0] * count + [0.0] * (40 - count)
    # A model with no token to begin from reads the first one, and is asked for the others.
    bare = assemble(rows[:1], RowShape("decoder", 24, 16, begin=-1))
    assert bare["decoder_loss_weights"].sum() == len(one.targets) - 1


def test_seqio_gives_chunks_of_the_targets_length(chunks, model):
    lengths = {"targets": 16}
    ours = list(examples("lm", "train", lengths))
    assert max(len(one.targets) for one in ours) <= 16 and len(ours) > len(chunks)
    dataset = seqio.get_mixture_or_task("lm").get_dataset(lengths, "train", shuffle=False)
    theirs = [row["targets"].tolist() for row in dataset.as_numpy_iterator()]
    assert theirs == [one.targets.tolist() for one in ours]


def test_a_real_book_comes_back_whole(data, model):
    path = data / "plain_text" / "frankenstein.txt"
    CausalLanguageModel("book", text(path, unit="file"), model).register()
    tally = Tally()
    found = list(examples("book", "train", {"inputs": 256, "targets": 128}, tally=tally))
    ids = np.concatenate([one.targets for one in found])
    assert ids[-1] == 1 and Tokenizer(model).decode(ids) == path.read_text(encoding="utf-8").strip()
    assert tally.kept == len(found) and {len(one.targets) for one in found} <= {382, 383, 384}
