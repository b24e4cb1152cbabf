"""Which architecture trains which objective: the others are refused before anything is prepared."""

import pytest

from flan_jax import plan_estimate
from flan_jax.config.run_config import RunConfig
from flan_jax.data.objectives import refuse_unfit
from flan_jax.data.request import Request
from flan_jax.data.resolve import check_evals, resolve
from flan_jax.errors import UserError
from flan_jax.models.config import ModelConfig


def test_a_model_with_an_encoder_needs_inputs():
    every = {name: name for name in ("instruction", "chat", "span_corruption", "prefix_lm", "mixture_of_denoisers")}
    refuse_unfit(every, "encoder_decoder", "MIXTURE")
    refuse_unfit(every | {"seqio": "seqio", "book": "causal_lm"}, "decoder", "MIXTURE")
    with pytest.raises(
        UserError, match=r"MIXTURE: task 'book' of causal .* set MODEL to a decoder .* PrefixLanguageMod"
    ):
        refuse_unfit(every | {"book": "causal_lm"}, "encoder_decoder", "MIXTURE")
    with pytest.raises(UserError, match="task 'book' and 1 others of causal language modelling"):
        refuse_unfit({"book": "causal_lm", "page": "causal_lm"}, "encoder_decoder", "MIXTURE")


def test_it_is_refused_before_its_rows_are_looked_for(worker, tmp_path):
    request = Request("own_text_causal_lm", "train", {"inputs": 64, "targets": 16}, 0, str(tmp_path))
    with pytest.raises(UserError, match="MIXTURE: task 'own_text_causal_lm' of causal"):
        resolve(request, worker, architecture="encoder_decoder")
    with pytest.raises(UserError, match="EVAL_MIXTURE: task 'own_text_causal_lm' of causal"):
        check_evals(request, None, worker, "encoder_decoder")
    with pytest.raises(UserError, match="corpus 'own_text' cannot be had"):
        resolve(request, worker, architecture="decoder")
    lengths = {"feature_lengths": request.lengths, "store_dir": str(tmp_path), "steps": 5}
    config = RunConfig(mixture="own_text_causal_lm", **lengths, model=ModelConfig(architecture="encoder_decoder"))
    with pytest.raises(UserError, match="MIXTURE: task 'own_text_causal_lm' of causal"):
        plan_estimate.estimated_table(config, worker)
    assert {path.name for path in tmp_path.iterdir()} == {"resolved"}
