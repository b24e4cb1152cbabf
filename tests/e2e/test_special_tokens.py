"""A base model is tuned on chats whose marks its tokenizer has not: trained, gone on with, exported, loaded."""

import json
import shutil

import jax
import numpy as np
import pytest
import tokenizers
from safetensors.numpy import load_file

from flan_jax.config.kept import load_run
from flan_jax.config.run_config import RunConfig
from flan_jax.models.hugging_face import read_folder
from flan_jax.parallel.mesh import make_mesh
from flan_jax.text import kept_vocabulary
from flan_jax.text.codec import Codec
from flan_jax.training import start
from tests.models.hugging_face.written import CONFIGS, shapes_of, write
from tests.project import run
from tests.tokenizer_folders import byte_level

TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TOKENS = ("<|user|>", "<|tool|>", "<|assistant|>", "<|end|>", "<|unused|>", "<|im_end|>")
ROWS = 314  # of the model's tables; the tokenizer has 312 ids


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A user's folder with chats and a base model, which has a head of its own and no chat template."""
    folder = tmp_path_factory.mktemp("a user's folder")
    say = lambda i: [("user", f"What is {i} plus one?"), ("tool", f"{i}"), ("assistant", str(i + 1))]
    rows = [{"messages": [{"role": role, "content": text} for role, text in say(i)]} for i in range(20)]
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "chat.jinja").write_text(TEMPLATE)
    rng = np.random.default_rng(0)
    shapes = {name: (ROWS, 16) if shape == (40, 16) else shape for name, shape in shapes_of("llama").items()}
    tensors = {name: rng.normal(size=shape).astype(np.float32) * 0.2 for name, shape in shapes.items()}
    byte_level(write(folder / "base", "llama", tensors, CONFIGS["llama"] | {"vocab_size": ROWS}), None)
    return folder


@pytest.mark.slow
def test_new_tokens_are_trained_kept_exported_and_loaded(place):
    how = ["train", "--data", "chats.jsonl", "--held_out", 0, "--batch_size", 4, "--mesh", "data=1", "--steps", 3,
           "--feature_lengths", "inputs=48,targets=16", "--save_period", 2, "--run_dir", "runs/a"]  # fmt: skip
    how += ["--init_from", "base", "--special_tokens", ",".join(TOKENS), "--chat_template", "chat.jinja"]
    done = run(*how, cwd=place)
    assert done.code == 0, done.err
    assert "(317 ids); written as chat, by the model's template\nspecial tokens: new: <|user|> (312), " in done.out
    assert "<|unused|> (316); there already: <|im_end|> (2)" in done.out

    # Stopped after step 2, the run comes to the same step 3.
    config, described = load_run(place / "runs/a"), kept_vocabulary.kept(place / "runs/a")
    assert config.model.vocab_size == 384 and described is not None and described["size"] == 317
    mesh, numbers = (
        make_mesh({"data": 1}, jax.devices()[:1]),
        lambda tree: [np.asarray(x) for x in jax.tree.leaves(tree)],
    )
    whole = numbers(start.merged_params(config, described, mesh))
    shutil.rmtree(place / "runs/a/checkpoints/3")
    done = run(*how, cwd=place)
    assert done.code == 0 and "going on from step 2 of 3" in done.out, done.err
    assert all(map(np.array_equal, whole, numbers(start.merged_params(config, described, mesh))))
    (place / "chat.jinja").rename(place / "moved.jinja")  # the run has kept what it needs of it
    assert "is finished: step 3" in run(*how, cwd=place).out

    done = run("export", "runs/a", "out", "--mesh", "data=1", cwd=place)
    assert done.code == 0 and "the same ids and the same logits, bit for bit" in done.out, done.err
    given, taken = (load_file(place / name / "model.safetensors") for name in ("base", "out"))
    table, before = taken["model.embed_tokens.weight"], given["model.embed_tokens.weight"]
    theirs = tokenizers.Tokenizer.from_file(str(place / "out/tokenizer.json"))
    user, tool, assistant, end = (theirs.token_to_id(token) for token in TOKENS[:4])
    ids = theirs.encode("<|user|>Oslo<|end|>").ids
    assert (ids[0], ids[-1]) == (user, end) == (312, 315) and theirs.get_vocab_size() == 317
    mean = before[:312].mean(axis=0)
    assert table.shape == (384, 16) and all(np.abs(table[i] - mean).max() > 1e-4 for i in (user, tool, assistant, end))
    assert np.abs(taken["lm_head.weight"][end] - given["lm_head.weight"][:312].mean(axis=0)).max() > 1e-4
    np.testing.assert_allclose(table[316:], [mean] * 68, atol=1e-6)  # of no row
    said = "".join(path.read_text() for path in (place / "chats.jsonl", place / "moved.jinja"))
    unseen = sorted(set(range(312)) - set(theirs.encode(said).ids))
    seen = theirs.encode("What is").ids[0]
    assert len(unseen) > 200 and np.array_equal(table[unseen], before[unseen])  # as they were, bit for bit
    assert not np.array_equal(table[seen], before[seen])
    assert json.loads((place / "out/generation_config.json").read_text())["eos_token_id"] == [2, end]
    assert (place / "out/chat_template.jinja").read_text() == TEMPLATE

    # Another run starts from this one, or from what came out, as it is and with the same tokens named again.
    for named, tokens in (("runs/a", ()), ("out", ()), ("out", TOKENS)):
        later = RunConfig(model=read_folder(place / "out").model, special_tokens=tokens)
        again = start.parameters_of(str(place / named), described, later, mesh)
        assert all(map(np.array_equal, whole, numbers(again)))
    assert Codec(described).eos_ids == (2, end)  # an answer stops at what the template ends it with

    # Beside a frozen base adapters are trained, and the rows of the new tokens.
    (place / "moved.jinja").rename(place / "chat.jinja")
    done = run(*how[:-6], "--run_dir", "runs/b", *how[-6:], "--lora", 2, cwd=place)
    assert done.code == 0 and "modules and the rows of 5 tokens, " in done.out, done.err
    tuned = start.merged_params(load_run(place / "runs/b"), described, mesh)["embedding"]["embedding"].get_value()
    assert np.array_equal(tuned[:312], before[:312]) and np.abs(tuned[end] - mean).max() > 1e-4
