"""The sides in torch: transformers eager and compiled, and TRL's SFTTrainer. Nothing of flan_jax or JAX is here.

training_side.py transformers|compiled|trl '{"shape": ..., "dtype": ...}'
"""

import os
import sys
import tempfile
import time
from typing import Any

import engine_process
import torch
import training_process
import training_shapes
import transformers
from training_shapes import Shape

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def model_of(shape: Shape, dtype: str) -> Any:
    """Random weights in transformers' own architecture; bfloat16 keeps float32 parameters and computes in autocast."""
    heads = {"vocab_size": shape.vocab_size, "pad_token_id": 0, "eos_token_id": 1}
    if shape.encodes:
        config = transformers.T5Config(
            d_model=shape.embed_dim, d_kv=shape.head_dim, d_ff=shape.mlp_dim, num_heads=shape.num_heads,
            num_layers=shape.num_layers, num_decoder_layers=shape.num_layers, feed_forward_proj="gated-gelu",
            tie_word_embeddings=False, dropout_rate=0.0, decoder_start_token_id=0, use_cache=False, **heads,
        )  # fmt: skip
        return transformers.T5ForConditionalGeneration(config)
    config = transformers.Qwen3Config(
        hidden_size=shape.embed_dim, intermediate_size=shape.mlp_dim, num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads, num_key_value_heads=shape.num_kv_heads, head_dim=shape.head_dim,
        tie_word_embeddings=True, max_position_embeddings=4096, rope_theta=1e6, use_cache=False, **heads,
    )  # fmt: skip
    return transformers.Qwen3ForCausalLM(config)


def batches_of(shape: Shape) -> list[dict[str, torch.Tensor]]:
    """What such a model is called with."""
    made = []
    for batch in shape.batches():
        read = torch.from_numpy(batch["inputs"]).long()
        labels = torch.from_numpy(batch["targets"]).long() if shape.encodes else read
        made.append({"input_ids": read, "attention_mask": torch.ones_like(read), "labels": labels})
    return made


def step_of(shape: Shape, dtype: str, compiled: bool) -> Any:
    """A training step as one writes it by hand: forward, backward, clip, AdamW (fused), zero."""
    model = model_of(shape, dtype).train()
    s = training_shapes
    optimizer = torch.optim.AdamW(
        model.parameters(), s.LEARNING_RATE, (s.B1, s.B2), s.EPS, weight_decay=s.WEIGHT_DECAY, fused=True
    )
    batches, count = batches_of(shape), [0]
    run = torch.compile(model) if compiled else model

    def one() -> dict[str, float]:
        with torch.autocast("cpu", DTYPES[dtype], enabled=dtype != "float32"):
            loss = run(**batches[count[0] % len(batches)]).loss
        count[0] += 1
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return {"loss": float(loss)}

    return one


class OnCommand(transformers.TrainerCallback):
    """Has a Trainer do its next step when "step" is read, and tells how long it took, to its end."""

    def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Waits for the command; without one, training ends."""
        if sys.stdin.readline().strip() != "step":
            engine_process.tell("usage", **engine_process.usage())
            sys.stdout.flush()
            os._exit(0)
        self.start, self.cpu = time.perf_counter(), engine_process.cpu_seconds()

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Tells the seconds."""
        cpu_s = engine_process.cpu_seconds() - self.cpu
        engine_process.tell("step", seconds=time.perf_counter() - self.start, cpu_s=cpu_s)


def run_trl(shape: Shape, dtype: str) -> None:
    """TRL's SFTTrainer with its defaults, on rows that are token ids already."""
    import datasets
    import tokenizers
    import trl

    rows = [row.tolist() for batch in shape.batches(64) for row in batch["inputs"]]
    words = {f"t{i}": i for i in range(shape.vocab_size)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="t2"))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="t0", eos_token="t1")
    s = training_shapes
    with tempfile.TemporaryDirectory() as folder:
        args = trl.SFTConfig(
            output_dir=folder, per_device_train_batch_size=shape.batch, max_length=shape.inputs, max_steps=10_000,
            learning_rate=s.LEARNING_RATE, weight_decay=s.WEIGHT_DECAY, adam_beta1=s.B1, adam_beta2=s.B2,
            bf16=dtype == "bfloat16", use_cpu=True, report_to="none", save_strategy="no", logging_steps=10_000,
            disable_tqdm=True,
        )  # fmt: skip
        trainer = trl.SFTTrainer(
            model_of(shape, dtype), args, train_dataset=datasets.Dataset.from_dict({"input_ids": rows}),
            processing_class=tokenizer, callbacks=[OnCommand()],
        )  # fmt: skip
        engine_process.tell("built", checkpointing=bool(args.gradient_checkpointing))
        trainer.train()


def generate_of(shape: Shape, dtype: str, new_tokens: int, cache: str) -> Any:
    """Greedy `generate` of `inputs`, without an end: exactly `new_tokens` tokens a row."""
    model = model_of(shape, dtype).eval()
    if dtype != "float32":
        model = model.to(DTYPES[dtype])
    read = torch.from_numpy(shape.batches(1)[0]["inputs"]).long()
    given: dict[str, Any] = {"max_new_tokens": new_tokens, "do_sample": False}
    given |= {"attention_mask": torch.ones_like(read), "use_cache": True}
    given |= {"cache_implementation": "static"} if cache == "static" else {}
    model.generation_config.eos_token_id = None
    model.config.use_cache = True

    def one() -> dict[str, int]:
        with torch.inference_mode():
            made = model.generate(read, **given)
        count = made.shape[1] - (1 if shape.encodes else read.shape[1])
        assert count == new_tokens, count
        return {"made": count * len(made)}

    return one


def run(kind: str, shape: Shape, dtype: str, threads: int = 0, new_tokens: int = 0, cache: str = "dynamic") -> None:
    """Becomes one of the sides."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    if threads:
        torch.set_num_threads(threads)
    if kind == "trl":
        run_trl(shape, dtype)
        return
    if kind == "generate":
        step = generate_of(shape, dtype, new_tokens, cache)
    else:
        step = step_of(shape, dtype, kind == "compiled")
    engine_process.tell("built")
    training_process.serve({"step": step})
