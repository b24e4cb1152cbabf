import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from flan_jax.errors import UserError
from flan_jax.inference import decoding
from tests.models.batches import ALL, VOCAB, examples, logits_of, model_of, rows, target_log_probs

EOS, LENGTH, NEW = 1, 9, 6
PROMPTS = [tokens for tokens, _ in examples([(9, 0), (4, 0), (1, 0), (0, 0), (7, 0)])]


@pytest.fixture(scope="module", params=ALL)
def config(request):
    return ALL[request.param]


@pytest.fixture(scope="module")
def model(config):
    return model_of(config)


def padded(sequences, length):
    filled = [np.pad(tokens, (0, length - len(tokens)), constant_values=-1) for tokens in sequences]
    return np.stack(filled).astype(np.int32)


def uncached(model, prompt, config, steps=NEW):
    """The argmax continuation by calling the model anew for every token."""
    made, total = [], 0.0
    for _ in range(steps):
        # the token asked for stands as a placeholder at the end of the targets
        batch = rows([[(prompt, np.array([*made, 2], np.int32))]], config, LENGTH, NEW)
        at = (0 if config.architecture == "encoder_decoder" else len(prompt)) + len(made)
        log_probs = np.asarray(jax.nn.log_softmax(logits_of(model, batch)[0, at]))
        made.append(int(log_probs.argmax()))
        total += log_probs.max()
        if made[-1] == EOS:
            break
    return made, total


def test_greedy_equals_an_uncached_argmax_loop(model, config):
    tokens, log_probs, _ = decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, EOS)
    for prompt, row, log_prob in zip(PROMPTS, np.asarray(tokens), log_probs, strict=True):
        made, total = uncached(model, prompt, config)
        assert row.tolist() == made + [-1] * (NEW - len(made))
        assert log_prob == pytest.approx(total, abs=1e-4)
    assert len({tuple(row) for row in np.asarray(tokens).tolist()}) > 2


def test_greedy_ends_at_eos(model):
    whole = np.asarray(decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, eos_id=()).tokens)
    assert (whole >= 0).all()
    stop = int(whole[0, 2])
    cut, log_probs, _ = decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, eos_id=stop)
    for row, expected in zip(np.asarray(cut), whole, strict=True):
        end = expected.tolist().index(stop) + 1 if stop in expected else NEW
        np.testing.assert_array_equal(row, np.where(np.arange(NEW) < end, expected, -1))
    assert np.isfinite(log_probs).all() and (np.asarray(log_probs) < 0).all()


def test_score_options_equals_teacher_forcing(model, config):
    option_tokens = [
        [t for _, t in examples([(0, n) for n in lengths], i)] for i, lengths in enumerate([(3, 1, 4)] * 5)
    ]
    option_tokens[1][2] = np.zeros(0, np.int32)
    sums, lengths = decoding.score_options(
        model, padded(PROMPTS, LENGTH), np.stack([padded(options, 4) for options in option_tokens])
    )
    assert sums.shape == lengths.shape == (5, 3)
    for i, options in enumerate(option_tokens):
        for j, option in enumerate(options):
            assert lengths[i, j] == len(option)
            if not len(option):
                assert sums[i, j] == -np.inf
                continue
            batch = rows([[(PROMPTS[i], option)]], config, LENGTH, 4)
            expected = (target_log_probs(model, batch) * batch["decoder_loss_weights"]).sum()
            assert sums[i, j] == pytest.approx(expected, rel=1e-5)


def test_score_options_reads_the_prompt_once(model):
    """No array holds something of the prompt once for each option."""
    graph, params = nnx.split(model, nnx.Param)
    prompts, length = padded(PROMPTS, LENGTH), 61  # a length no other array has

    def copies(options):
        long = np.pad(prompts, ((0, 0), (0, length - LENGTH)), constant_values=-1)
        closed = jax.make_jaxpr(lambda p, i, o: decoding.score_options(nnx.merge(graph, p), i, o))(
            params, long, np.ones((len(long), options, 3), np.int32)
        )
        text = str(closed)
        assert f"[{len(long)},{options}," in text or f"[{options},{len(long)}," in text
        # an array of prompt activations for each option would have this shape, whatever its last dimensions
        return [
            f"[{options},{len(long)},{n}," in text or f"[{len(long)},{options},{n}," in text
            for n in (length, length + 1)
        ]

    assert copies(3) == copies(7) == [False, False]  # 2 is the number of layers


def test_options_of_one_token(model, config):
    options = np.array([[[3], [4]]] * len(PROMPTS), np.int32)
    sums, lengths = decoding.score_options(model, padded(PROMPTS, LENGTH), options)
    batch = rows([[(PROMPTS[0], np.array([4], np.int32))]], config, LENGTH, 1)
    expected = (target_log_probs(model, batch) * batch["decoder_loss_weights"]).sum()
    assert sums[0, 1] == pytest.approx(expected, rel=1e-5)
    assert (np.asarray(lengths) == 1).all()


def test_padding_of_the_prompt_changes_nothing(model):
    narrow, wide = padded(PROMPTS, LENGTH), padded(PROMPTS, LENGTH + 5)
    np.testing.assert_array_equal(
        decoding.greedy(model, narrow, NEW, EOS)[0], decoding.greedy(model, wide, NEW, EOS)[0]
    )


def caches():
    return [each._cache_size() for each in (decoding.tokens._generate, decoding.scoring._score)]


def test_one_compile_for_prompts_of_different_content(model):
    prompts = padded(PROMPTS, LENGTH)
    options = np.ones((5, 3, 4), np.int32)
    decoding.greedy(model, prompts, NEW, EOS)
    decoding.score_options(model, prompts, options)
    decoding.sample(model, prompts, NEW, EOS, jax.random.key(0), temperature=0.5, top_p=0.5)
    before = caches()
    other = np.roll(prompts, 1, axis=0)
    decoding.greedy(model, other, NEW, EOS)
    decoding.score_options(model, other, options * 7)
    decoding.sample(model, other, NEW, EOS, jax.random.key(1), temperature=2.0, top_p=0.9)
    assert caches() == before


def test_decoding_inside_a_jitted_function(model):
    graph, params = nnx.split(model, nnx.Param)
    inside = jax.jit(lambda p, i: decoding.greedy(nnx.merge(graph, p), i, NEW, EOS)[0])
    prompts = padded(PROMPTS, LENGTH)
    np.testing.assert_array_equal(inside(params, prompts), decoding.greedy(model, prompts, NEW, EOS)[0])


def test_sampling_is_fixed_by_its_key_and_narrows_to_greedy():
    model = model_of(ALL["causal"])
    prompts = padded(PROMPTS, LENGTH)
    draw = lambda seed, **kw: np.asarray(decoding.sample(model, prompts, NEW, EOS, jax.random.key(seed), **kw)[0])
    np.testing.assert_array_equal(draw(0), draw(0))
    assert (draw(0) != draw(1)).any()
    best = np.asarray(decoding.greedy(model, prompts, NEW, EOS)[0])
    np.testing.assert_array_equal(draw(3, top_k=1), best)
    np.testing.assert_array_equal(draw(3, top_p=1e-6), best)
    np.testing.assert_array_equal(draw(3, temperature=1e-6), best)


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"), [(0, None, 5), (3, None, 3), (0, 0.6, 2), (0, 0.4, 1), (2, 0.99, 2)]
)
def test_draws_follow_the_kept_probabilities(top_k, top_p, kept):
    probs = np.array([0.1, 0.4, 0.05, 0.3, 0.15])
    rows_of_logits = jnp.log(jnp.tile(jnp.array(probs), (20_000, 1)))
    keys = decoding.tokens.row_keys(jax.random.key(0), len(rows_of_logits))
    drawn = np.asarray(decoding.choice.draw(keys, rows_of_logits, 1.0, top_k, top_p))
    best = np.argsort(-probs)[:kept]
    wanted = np.zeros(5)
    wanted[best] = probs[best] / probs[best].sum()
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / len(drawn), wanted, atol=0.015)


def test_sampling_faults_are_told_at_once():
    model = model_of(ALL["causal"])
    with pytest.raises(UserError, match=r"(?s)temperature is 0.*top_k is -1.*top_p is 1.5"):
        decoding.sample(model, padded(PROMPTS, LENGTH), 2, EOS, jax.random.key(0), temperature=0, top_k=-1, top_p=1.5)


def test_log_probs_of_samples_are_the_models_own():
    config = ALL["prefix"]
    model = model_of(config)
    prompts = padded(PROMPTS, LENGTH)
    tokens, log_probs, _ = decoding.sample(model, prompts, 3, EOS, jax.random.key(5), temperature=3.0)
    for prompt, row, log_prob in zip(PROMPTS, np.asarray(tokens), log_probs, strict=True):
        length = row.tolist().index(EOS) + 1 if EOS in row else 3
        if (row[:length] == 0).any():
            continue  # token 0 drawn: rows() has no way to tell it from padding
        batch = rows([[(prompt, row[:length])]], config, LENGTH, 3)
        expected = (target_log_probs(model, batch) * batch["decoder_loss_weights"]).sum()
        assert log_prob == pytest.approx(expected, rel=1e-4)
    assert VOCAB > int(np.max(tokens)) >= 0


def test_several_ends_and_a_least_length(model):
    whole = np.asarray(decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, ()).tokens)
    ends = [int(whole[0, 1]), int(whole[1, 2])]
    cut = np.asarray(decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, ends).tokens)
    for row, expected in zip(cut, whole, strict=True):
        at = [i for i, token in enumerate(expected) if token in ends]
        np.testing.assert_array_equal(row, np.where(np.arange(NEW) <= (at[0] if at else NEW), expected, -1))
    late = decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, ends, min_new_tokens=4)
    assert not np.isin(late.tokens[:, :4], ends).any() and (np.asarray(late.tokens)[:, :4] >= 0).all()
    np.testing.assert_allclose(late.scores, late.token_scores.sum(axis=1), rtol=1e-5)


def test_a_row_draws_the_same_whatever_is_beside_it():
    model = model_of(ALL["causal"])
    prompts = padded(PROMPTS, LENGTH)
    together = decoding.sample(model, prompts, NEW, (), jax.random.key(2)).tokens
    keys = decoding.tokens.row_keys(jax.random.key(2), 1, first=3)
    alone = decoding.sample(model, prompts[3:4], NEW, (), keys).tokens
    np.testing.assert_array_equal(alone[0], together[3])
    assert len({tuple(row) for row in np.asarray(together).tolist()}) == len(PROMPTS)


@pytest.mark.slow
def test_layers_apart_and_stacked_are_one(model, monkeypatch):
    """What CPU decodes with, and what accelerators do."""
    decode = lambda: jax.tree.map(
        np.asarray,
        (
            decoding.greedy(model, padded(PROMPTS, LENGTH), NEW, EOS),
            decoding.beam_search(model, padded(PROMPTS, LENGTH), NEW, EOS, 2),
        ),
    )
    apart = decode()
    for module in (decoding.tokens, decoding.beams):
        monkeypatch.setattr(module, "laid_out", lambda model: model)
    jax.clear_caches()
    stacked = decode()
    jax.clear_caches()
    for one, other in zip(apart, stacked, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)
        np.testing.assert_allclose(one.scores, other.scores, rtol=1e-5)


def test_no_token_copies_a_cache(model, config):
    """In the compiled loop an array of a cache's shape is written in place or read, never copied."""
    graph, params = nnx.split(model, nnx.Param)
    room, width = 77, config.width  # a length that no other array has
    choice = decoding.tokens.Choice(decoding.choice.ids_of(EOS))
    compiled = decoding.tokens._generate.lower(graph, params, padded(PROMPTS, LENGTH), choice, room).compile()
    loops = [
        part for part in compiled.as_text().split("\n\n") if "dynamic-update-slice" in part and "while/body" in part
    ]
    held = room + (config.architecture == "encoder_decoder")
    cache = f"f32[{len(PROMPTS)},{config.kv_heads},{held},{width}]"
    assert any(cache in part for part in loops)
    assert not [line for part in loops for line in part.splitlines() if f"{cache}{{3,2,1,0}} copy(" in line]
