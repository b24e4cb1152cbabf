"""Every family beside transformers: read from a folder of its, trained, decoded, and written back for it to load."""

import dataclasses

import numpy as np
import pytest
import torch

from flan_jax.models.hugging_face import read_folder
from tests.models.batches import rows
from tests.models.measured import (
    INPUTS,
    TARGETS,
    Ours,
    Search,
    changed_by_a_round_trip,
    differences,
    examples_of,
    gradients_apart,
    relative,
)
from tests.parity import families, peer

ENCODER_DECODERS = ("t5", "t5_v1_1", "ul2", "mt5", "umt5")
DECODERS = [name for name in families.FAMILIES if name not in ENCODER_DECODERS]
SEARCHES = {
    "t5_v1_1": Search(num_beams=4, length_penalty=2.0, early_stopping=True),
    "llama3": Search(num_beams=4, length_penalty=2.0, early_stopping=True),
    "gemma3": Search(num_beams=2, length_penalty=-0.5, early_stopping="never"),
}


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    made = {}

    def make(name):
        if name not in made:
            path = tmp_path_factory.mktemp("families") / name
            families.save(name, path)
            made[name] = read_folder(path)
        return made[name]

    return make


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_is_what_transformers_is(name, folder_of):
    folder = folder_of(name)
    theirs, eos_id = peer.measure(folder.path, folder.model)
    assert 0 < (theirs.greedy == eos_id).any(axis=1).sum() < len(theirs.greedy)
    ours = Ours(folder).figures(eos_id)
    found = differences(ours, theirs)
    assert max(found["padded"], found["packed"], found["loss"]) < 1e-5, found
    assert gradients_apart(ours, theirs) == {}
    assert found["adamw"] < 1e-4, found
    assert found["greedy"] == found["beam"] == 0, found
    # Sums of log-probabilities near 0 are differences of large logits.
    assert found["scores"] < 1e-4, found


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_comes_back(name, folder_of, tmp_path):
    folder = folder_of(name)
    assert changed_by_a_round_trip(folder, tmp_path / "back") == []
    both, begin = folder.model.architecture == "encoder_decoder", folder.model.begin_id
    examples = examples_of(folder.model.vocab_size, 0)
    with torch.no_grad():
        models = (peer.load(path) for path in (folder.path, tmp_path / "back"))
        before, after = (peer.forward(model, examples, both, begin) for model in models)
    assert torch.equal(before.logits, after.logits)


@pytest.mark.parametrize("name", DECODERS)
def test_a_prefix_lm_is_transformers_with_that_mask(name, folder_of):
    folder = folder_of(name)
    begin, examples = folder.model.begin_id, examples_of(folder.model.vocab_size, 0)
    ours = Ours(dataclasses.replace(folder, model=dataclasses.replace(folder.model, prefix_lm=True)))
    layout = [*([one] for one in examples), examples[:2], examples[2:]]
    padded, packed = ours.logits(rows(layout, ours.config, INPUTS, TARGETS))
    with torch.no_grad():
        mask = prefix_mask(examples, begin, folder.model)
        out = peer.forward(peer.load(folder.path), examples, False, begin, attention_mask=mask)
    theirs = peer.of_tokens(out.logits, examples, False, begin)
    causal, _ = Ours(folder).logits(rows(layout, folder.model, INPUTS, TARGETS))
    assert relative(padded, theirs) < 1e-5 and relative(packed, theirs) < 1e-5
    assert relative(causal, theirs) > 1e-2


def prefix_mask(examples, begin, model):
    """What transformers adds to the attention logits [B, 1, L, L], for each kind of layers where there are two."""
    counts = [(len(inputs) + (begin >= 0), len(inputs) + len(targets) + (begin >= 0)) for inputs, targets in examples]
    length = max(whole for _, whole in counts)
    query, key = np.ogrid[:length, :length]
    seen = np.stack([(key <= query) | (np.maximum(key, query) < inputs) for inputs, _ in counts])
    near = seen & (np.abs(key - query) < model.window)
    far, close = (torch.tensor(np.where(one, 0.0, -1e30)[:, None]).float() for one in (seen, near))
    if len(set(model.layer_pattern)) == 1:
        return close if model.window else far
    return {"full_attention": far, "sliding_attention": close}


@pytest.mark.parametrize("name", SEARCHES)
def test_beams_by_other_rules(name, folder_of):
    folder, search = folder_of(name), SEARCHES[name]
    model = peer.load(folder.path)
    eos_id = peer.often_used(peer.greedy(model, folder.model, None))
    tokens, scores = peer.searched(model, folder.model, eos_id, search)
    _, ours, ours_scores = Ours(folder).answers(eos_id, search)
    np.testing.assert_array_equal(ours, tokens)
    assert relative(ours_scores, scores) < 1e-4
