"""A folder in, tuned on a JSONL by one command, a folder out: the user's whole way, without torch."""

import json
import pathlib

import numpy as np
import pytest
from safetensors.numpy import load_file

import flan_jax.mixtures
from flan_jax.text.sentencepiece_files import write_tokenizer
from tests.models.hugging_face.written import CONFIGS, shapes_of, write
from tests.project import check_refused, run

STARTER = pathlib.Path(flan_jax.mixtures.__file__).parent / "starter/starter.model"
HOW = ["--data", "rows.jsonl", "--batch_size", 4, "--feature_lengths", "inputs=48,targets=16", "--mesh", "data=1"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A user's folder with a JSONL file and two models."""
    folder = tmp_path_factory.mktemp("a user's folder")
    rows = [{"prompt": f"What is {i} plus one?", "completion": str(i + 1)} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    rng = np.random.default_rng(0)
    for kind, table in (("qwen2", "model.embed_tokens.weight"), ("t5", "shared.weight")):
        shapes = shapes_of(kind) | {table: (1408, 16)}
        tensors = {name: rng.normal(size=shape).astype(np.float32) * 0.2 for name, shape in shapes.items()}
        config = CONFIGS[kind] | {"vocab_size": 1408, "dropout_rate": 0.0}
        write_tokenizer(STARTER, write(folder / kind, kind, tensors, config), extra_ids=100, begin_id=-1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["qwen2", "t5"])
def test_a_folder_in_tuned_and_out(place, kind):
    given = load_file(place / kind / "model.safetensors")
    done = run("train", "--init_from", kind, *HOW, "--steps", 8, "--run_dir", f"runs/{kind}", cwd=place)
    assert done.code == 0, done.err
    assert f"starting from the parameters of {kind}" in done.out
    before, after = (json.loads((place / f"runs/{kind}/scores/step-{i}.json").read_text())["tasks"] for i in (0, 8))
    assert before[0]["metrics"]["loss"] > after[0]["metrics"]["loss"]
    done = run("export", f"runs/{kind}", f"out/{kind}", "--mesh", "data=1", cwd=place)
    assert done.code == 0 and "bit for bit" in done.out, done.err
    taken = load_file(place / f"out/{kind}/model.safetensors")
    assert given.keys() == taken.keys() and all(given[name].shape == taken[name].shape for name in given)
    assert any(not np.array_equal(given[name], taken[name]) for name in given)
    for name in ("tokenizer.json", "tokenizer_config.json", "spiece.model"):
        assert (place / f"out/{kind}" / name).read_bytes() == (place / kind / name).read_bytes()

    # From the run, and from the folder that came out of it, training begins at the same loss.
    for start in (f"runs/{kind}", f"out/{kind}"):
        name = start.replace("/", "-")
        done = run("train", "--init_from", start, *HOW, "--steps", 1, "--run_dir", f"runs/{name}", cwd=place)
        assert done.code == 0, done.err
        again = json.loads((place / f"runs/{name}/scores/step-0.json").read_text())["tasks"]
        assert again[0]["metrics"]["loss"] == after[0]["metrics"]["loss"]
    check_refused(
        run("train", "--init_from", kind, "--model", "llama_starter", *HOW, "--steps", 1, cwd=place),
        "another model than MODEL",
    )
