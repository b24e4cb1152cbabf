"""Tunix's side: the jitted step of its PeftTrainer on its own Qwen3. Nothing of flan_jax is here."""

import time
from typing import Any

import engine_process
import jax
import jax.numpy as jnp
import optax
import training_process
import training_shapes
from flax import nnx
from training_shapes import Shape
from tunix.models.qwen3 import model as qwen3
from tunix.sft import peft_trainer


def run(shape: Shape, dtype: str) -> None:
    """Full fine-tuning, as its guide for supervised tuning has it, without checkpoints."""
    s = training_shapes
    config = qwen3.ModelConfig(
        num_layers=shape.num_layers, vocab_size=shape.vocab_size, embed_dim=shape.embed_dim,
        hidden_dim=shape.mlp_dim, num_heads=shape.num_heads, num_kv_heads=shape.num_kv_heads,
        head_dim=shape.head_dim, norm_eps=1e-6, rope_theta=1_000_000, use_tied_embedding=True,
        dtype=jnp.dtype(dtype),
    )  # fmt: skip
    model = qwen3.Qwen3(config, rngs=nnx.Rngs(0))
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(s.LEARNING_RATE, s.B1, s.B2, s.EPS, weight_decay=s.WEIGHT_DECAY)
    )
    trainer = peft_trainer.PeftTrainer(model, optimizer, peft_trainer.TrainingConfig(eval_every_n_steps=10**9))
    causal = jnp.broadcast_to(jnp.tril(jnp.ones((shape.inputs,) * 2, bool)), (shape.batch, shape.inputs, shape.inputs))
    positions = jnp.broadcast_to(jnp.arange(shape.inputs), (shape.batch, shape.inputs))
    batches = []
    for batch in shape.batches():
        rows = jnp.asarray(batch["inputs"])
        mask = jnp.ones(rows.shape, jnp.int32)
        given = {"input_tokens": rows, "input_mask": mask, "positions": positions, "attention_mask": causal}
        batches.append(given)
    step, _ = trainer.jit_train_and_eval_step()
    engine_process.tell("built")
    count = [0]

    def one() -> dict[str, Any]:
        start = time.perf_counter()
        loss, _, norm = step(batches[count[0] % len(batches)])
        count[0] += 1
        jax.block_until_ready((loss, norm, nnx.state(model, nnx.Param)))
        return {"seconds": time.perf_counter() - start, "loss": float(loss)}

    training_process.serve({"step": one})
