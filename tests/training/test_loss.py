import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from flan_jax.errors import UserError
from flan_jax.training.loss import LossConfig, token_losses, z_losses


@pytest.fixture(scope="module")
def scored():
    logits = jax.random.normal(jax.random.key(0), (3, 5, 17)) * 3
    return logits, jax.random.randint(jax.random.key(1), (3, 5), 0, 17)


def test_cross_entropy_and_its_gradient_equal_optax(scored):
    logits, targets = scored
    ours = lambda x: token_losses(x, targets).sum()
    theirs = lambda x: optax.softmax_cross_entropy_with_integer_labels(x, targets).sum()
    assert token_losses(logits, targets).shape == (3, 5)
    np.testing.assert_allclose(ours(logits), theirs(logits), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(ours)(logits), jax.grad(theirs)(logits), atol=1e-6)


def test_label_smoothing_equals_optax_smoothed_labels(scored):
    logits, targets = scored
    wanted = optax.softmax_cross_entropy(logits, optax.smooth_labels(jax.nn.one_hot(targets, 17), 0.1))
    np.testing.assert_allclose(token_losses(logits, targets, LossConfig(label_smoothing=0.1)), wanted, rtol=1e-5)
    assert np.abs(wanted - token_losses(logits, targets)).max() > 0.1


def test_z_loss_is_the_squared_log_normaliser(scored):
    logits, targets = scored
    config = LossConfig(z_loss=0.01)
    wanted = 0.01 * np.log(np.exp(np.asarray(logits, np.float64)).sum(-1)) ** 2
    np.testing.assert_allclose(z_losses(logits, config), wanted, rtol=1e-5)
    np.testing.assert_allclose(token_losses(logits, targets, config) - token_losses(logits, targets), wanted, rtol=1e-4)
    assert not z_losses(logits, LossConfig()).any()


def test_narrow_logits_are_scored_in_float32(scored):
    logits, targets = scored
    narrow = logits.astype(jnp.bfloat16)
    losses = token_losses(narrow, targets, LossConfig(z_loss=0.01, label_smoothing=0.1))
    assert losses.dtype == jnp.float32
    np.testing.assert_array_equal(token_losses(narrow, targets), token_losses(narrow.astype(jnp.float32), targets))


def test_a_users_function_replaces_the_cross_entropy(scored):
    logits, targets = scored
    config = LossConfig(z_loss=0.01, function=lambda logits, targets: targets * 2)
    np.testing.assert_allclose(token_losses(logits, targets, config), targets * 2 + z_losses(logits, config), rtol=1e-6)


def test_a_users_function_of_another_shape_is_refused(scored):
    def summed(logits, targets):
        return logits.sum()

    with pytest.raises(
        UserError, match=r"Loss.function is .*summed, which gave shape \(\) for .* \(3, 5\), wanted one"
    ):
        token_losses(*scored, LossConfig(function=summed))


def test_all_faults_are_told_at_once():
    with pytest.raises(
        UserError,
        match="(?s)z_loss is -1.*label_smoothing is 1.0.*function is 'mse'.*label_smoothing is set.*chunk is -1",
    ):
        LossConfig(z_loss=-1, label_smoothing=1.0, function="mse", chunk=-1).check()
