"""Our side: the product's own step, `flan_jax.training.program.make_program`, on the batches that all sides get."""

from typing import Any

import engine_process
import jax
import numpy as np
import training_process
import training_shapes
from flax import nnx
from training_shapes import Shape

from flan_jax.config.training_settings import LossConfig, OptimizerConfig
from flan_jax.inference import decoding
from flan_jax.models.config import ModelConfig
from flan_jax.models.model import build
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.program import make_program
from flan_jax.training.state import create_state
from flan_jax.training.step import place_batch


def config_of(shape: Shape, dtype: str, **changes: Any) -> ModelConfig:
    """The model's settings, as importing such a checkpoint would make them."""
    same = ("architecture", "vocab_size", "embed_dim", "num_heads", "num_kv_heads", "head_dim", "mlp_dim")
    settings: dict[str, Any] = {name: getattr(shape, name) for name in same}
    settings |= {"num_decoder_layers": shape.num_layers, "scale_logits": False, "dtype": dtype}
    if shape.encodes:
        settings |= {"num_encoder_layers": shape.num_layers, "tie_embeddings": False, "scale_attention": False}
        settings |= {"mlp_activation": "gated_gelu"}
    else:
        settings |= {"mlp_activation": "gated_silu", "qk_norm": "head", "rope_theta": 1e6, "begin_id": -1}
        settings |= {"embedding_init_std": 0.02}
    return ModelConfig(**(settings | changes))


def rows_of(shape: Shape, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A batch as the product's loader lays it out."""
    read = batch["targets"] if shape.encodes else batch["inputs"]
    target, weights = read, np.ones(read.shape, np.float32)
    inputs = np.pad(read[:, :-1], ((0, 0), (1, 0)))
    if not shape.encodes:  # begin_id is -1: a token predicts the next, the last one nothing
        inputs, target = read, np.pad(read[:, 1:], ((0, 0), (0, 1)))
        weights[:, -1] = 0
    of = lambda tokens: np.broadcast_to(np.arange(tokens.shape[1], dtype=np.int32), tokens.shape).copy()
    laid = {
        "decoder_input_tokens": inputs,
        "decoder_target_tokens": target,
        "decoder_segment_ids": np.ones_like(read),
        "decoder_positions": of(read),
        "decoder_task_ids": np.zeros_like(read),
        "decoder_loss_weights": weights,
    }
    if shape.encodes:
        source = batch["inputs"]
        ones = {"encoder_segment_ids": np.ones_like(source), "encoder_positions": of(source)}
        return laid | {"encoder_input_tokens": source} | ones
    return laid | {"decoder_prefix_mask": np.zeros_like(read)}


def make(shape: Shape, dtype: str, **changes: Any) -> tuple[Any, Any, list[Any]]:
    """The jitted step, its first state, and the batches."""
    s = training_shapes
    mesh = make_mesh()
    optimizer = OptimizerConfig(learning_rate=s.LEARNING_RATE, weight_decay=s.WEIGHT_DECAY, b1=s.B1, b2=s.B2, eps=s.EPS)
    config = config_of(shape, dtype, **changes)
    program = make_program(mesh, config, optimizer, LossConfig(), steps=1000, num_tasks=1)
    state = create_state(lambda: nnx.split(build(config, nnx.Rngs(0)), nnx.Param)[1], program.tx, mesh)
    batches = [place_batch(rows_of(shape, batch), mesh) for batch in shape.batches()]
    return program.step, jax.block_until_ready(state), batches


def decode(shape: Shape, dtype: str, new_tokens: int) -> None:
    """Becomes a process that continues the prompts greedily, without an end, whenever it is asked."""
    model = decoding.laid_out(build(config_of(shape, dtype, param_dtype=dtype), nnx.Rngs(0)))
    prompts = shape.batches(1)[0]["inputs"]

    def one() -> dict[str, int]:
        made = np.asarray(decoding.greedy(model, prompts, new_tokens, ()).tokens)
        assert made.shape == (shape.batch, new_tokens) and (made >= 0).all()
        return {"made": made.size}

    engine_process.tell("built")
    training_process.serve({"step": one})
