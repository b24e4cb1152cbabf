"""The README's ten-minute walk with a real model, in a short form: a folder in, tuned, a folder out, answered.

It fetches SmolLM2-135M-Instruct (93 MB) where it is not in the cache yet; see real_weights.py.
"""

import json
import pathlib
import subprocess
import sys

import numpy as np
import peft
import pytest
import torch
import transformers

from tests.parity.real_weights import fetch

DATA = pathlib.Path(__file__).parents[3] / "shared" / "data" / "alpaca" / "alpaca_gpt4_en_sample.json"
LENGTHS = ["--feature_lengths", "inputs=96,targets=96", "--batch_size", "2", "--learning_rate", "1e-3"]
QUESTION = "What is the capital of France?"


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """Trains two steps on 24 rows of real data and exports what came of it; the folder and what was printed."""
    if not DATA.is_file():
        pytest.skip("no real data beside the project")
    desk, base = tmp_path_factory.mktemp("a desk"), fetch("SmolLM2-135M-Instruct")
    rows = json.loads(DATA.read_text())[:24]
    (desk / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def command(*argv: str) -> str:
        whole = [sys.executable, "-m", "flan_jax.main", *argv]
        done = subprocess.run(whole, cwd=desk, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    told = command("train", "--data", "mine.jsonl", "--init_from", str(base), "--lora", "16", "--steps", "2", *LENGTHS)
    command("export", "runs/mine", "tuned")
    command("export", "runs/mine", "adapter", "--adapter")
    answer = command("generate", "--run_dir", "runs/mine", "--prompt", QUESTION, "--max_new_tokens", "12")
    return desk, base, told, answer


def question_of(folder: pathlib.Path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    turns = [{"role": "user", "content": QUESTION}]
    return tokenizer, tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )


def test_it_is_scored_before_and_after(walk):
    desk, _, told, _ = walk
    (row,) = json.loads((desk / "runs/mine/results.json").read_text())["tasks"]
    assert "loss before" in told and row["examples"] == 2 and 0.3 < row["after"] < row["before"] < 4


def test_transformers_answers_as_we_do(walk):
    desk, _, _, answer = walk
    model = transformers.AutoModelForCausalLM.from_pretrained(desk / "tuned")
    tokenizer, asked = question_of(desk / "tuned")
    made = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(made, skip_special_tokens=True).strip() == answer.strip() != ""


def test_peft_loads_the_adapter_and_gives_the_merged_models_logits(walk):
    desk, base, _, _ = walk
    _, asked = question_of(base)
    plain = transformers.AutoModelForCausalLM.from_pretrained(base)
    merged = transformers.AutoModelForCausalLM.from_pretrained(desk / "tuned")
    with torch.no_grad():
        before, want = plain(**asked).logits.numpy(), merged(**asked).logits.numpy()
        got = peft.PeftModel.from_pretrained(plain, desk / "adapter")(**asked).logits.numpy()
    assert np.abs(got - want).max() < 1e-4 * np.abs(want).max() < np.abs(before - want).max()
