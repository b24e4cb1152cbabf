import jax
import numpy as np
import pytest
from flax import nnx

from flan_jax.config.kept import load_run
from flan_jax.inference.loading import load_model


@pytest.fixture(scope="session", params=["encoder_decoder", "causal", "prefix_lm"])
def run(request, project, trained, tmp_path_factory):
    """A run of each kind of model: its folder, the model to ask, its plain forward pass, its codec."""
    folder = trained
    if request.param != "encoder_decoder":
        folder = tmp_path_factory.mktemp("runs") / request.param
        how = ["--model", "tiny_decoder.gin", f"--gin.Model.prefix_lm={request.param == 'prefix_lm'}"]
        project.train(folder, *how)
    model, codec, _ = load_model(load_run(folder), None)
    forward = jax.jit(lambda params, batch: jax.nn.log_softmax(nnx.merge(model.graph, params)(batch), axis=-1))
    return folder, model, lambda batch: np.asarray(forward(model.params, batch))[0], codec
