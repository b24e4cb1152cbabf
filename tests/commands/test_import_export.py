"""`flan-jax import` and `flan-jax export` on a folder with a tokenizer: byte for byte, and what they refuse."""

import contextlib
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file

import flan_jax.mixtures
from flan_jax import setup
from flan_jax.config import kept as configs
from flan_jax.errors import UserError
from flan_jax.models.lora_config import LoraConfig
from flan_jax.text.codec import Codec
from flan_jax.text.sentencepiece_files import write_tokenizer
from tests.models.hugging_face.written import BFLOAT16, CONFIGS, shapes_of, write
from tests.project import check_refused, run

STARTER = pathlib.Path(flan_jax.mixtures.__file__).parent / "starter/starter.model"
CONFIG = CONFIGS["llama"] | {"vocab_size": 1408, "tie_word_embeddings": True, "torch_dtype": "bfloat16"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as transformers saves it in bfloat16, with a tokenizer and a chat template."""
    made = tmp_path_factory.mktemp("models") / "tiny llama"
    rng = np.random.default_rng(0)
    shapes = shapes_of("llama") | {"model.embed_tokens.weight": (1408, 16)}
    del shapes["lm_head.weight"]
    write(made, tensors={name: rng.normal(size=shape).astype(BFLOAT16) for name, shape in shapes.items()})
    (made / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    write_tokenizer(STARTER, made, extra_ids=100, begin_id=-1)
    (made / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}\n{% endfor %}")
    (made / "generation_config.json").write_text('{"eos_token_id": [1, 2], "temperature": 0.6}')
    return made


@pytest.fixture(scope="module")
def imported(folder, worker, tmp_path_factory):
    """The folder as a run."""
    place = tmp_path_factory.mktemp("a user's folder")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))
        done = run("import", folder, "--output", "runs/tiny", "--mesh", "data=1", cwd=place)
        assert done.code == 0, done.err
        assert "llama, " in done.out and "flan-jax train --init_from runs/tiny" in done.out
        check_refused(run("import", folder, "--output", "runs/tiny", cwd=place), "holds a run already")
    return place


def test_out_again_byte_for_byte(imported, folder):
    done = run("export", "runs/tiny", "out", "--mesh", "data=1", cwd=imported)
    assert done.code == 0, done.err
    assert "20 prompts give the same ids and the same logits, bit for bit" in done.out
    names = {path.name for path in folder.iterdir()}
    assert {path.name for path in (imported / "out").iterdir()} == names
    for name in names:
        assert (imported / "out" / name).read_bytes() == (folder / name).read_bytes(), name
    check_refused(run("export", "runs/tiny", "out", cwd=imported), "not an empty folder")


def test_in_another_type(imported, folder):
    done = run("export", "runs/tiny", "half", "--dtype", "float16", "--mesh", "data=1", cwd=imported)
    assert "the same logits, bit for bit, as the run's weights in float16 do" in done.out, done.err
    done = run("export", "runs/tiny", "wide", "--dtype", "float32", "--mesh", "data=1", cwd=imported)
    assert done.code == 0 and "in float32" in done.out, done.err
    assert done.out.endswith("the same logits, bit for bit\n")
    narrow, wide = (load_file(place / "model.safetensors") for place in (folder, imported / "wide"))
    assert all(np.array_equal(narrow[name].astype(np.float32), wide[name]) for name in narrow)
    assert json.loads((imported / "wide/config.json").read_text()) == CONFIG | {"torch_dtype": "float32"}


def test_a_kept_tokenizer_that_is_damaged_is_told_before_anything_is_written(imported, tmp_path):
    shutil.copytree(imported / "runs/tiny", tmp_path / "tiny")
    kept = tmp_path / "tiny/hugging_face"
    there = [path for path in kept.iterdir() if path.name in ("tokenizer.json", "spiece.model", "tokenizer.model")]
    for path in there:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    said = check_refused(run("export", tmp_path / "tiny", "out", "--mesh", "data=1", cwd=tmp_path), "copy the files of")
    assert "the tokenizer in" in said and "damaged or another's" in said
    assert not (tmp_path / "out").exists()


def test_a_vocabulary_without_its_sentinels_is_told_before_anything_is_written(imported, tmp_path):
    shutil.copytree(imported / "runs/tiny", tmp_path / "tiny")
    said = json.loads((tmp_path / "tiny/vocabulary.json").read_text()) | {"kind": "sentencepiece"}
    (tmp_path / "tiny/vocabulary.json").write_text(json.dumps({k: v for k, v in said.items() if k != "extra_ids"}))
    check_refused(run("export", tmp_path / "tiny", "out", "--mesh", "data=1", cwd=tmp_path), "it lacks extra_ids")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_that_cannot_be_read_back_is_told(tmp_path):
    from flan_jax.models.hugging_face.checking import check_ids

    (tmp_path / "tokenizer.json").write_text("{}{torn")
    with pytest.raises(UserError, match="was written, but its tokenizer.json cannot be read .*; do not use it"):
        check_ids(tmp_path, Codec({"kind": "byte", "size": 259, "eos_id": 1}))


def changed(folder, place, **values):
    """A copy of a folder with another config.json, and no generation_config.json."""
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("generation_config.json"))
    (place / "config.json").write_text(json.dumps(CONFIG | values))
    return place


def test_what_config_json_says_where_there_is_no_generation_config(folder, worker, monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "worker_of", lambda config, *_: contextlib.nullcontext(worker))
    ends = [1, *range(3, 1408)]
    values = {"architectures": None, "eos_token_id": ends, "pad_token_id": 5, "bos_token_id": 4}
    source = changed(folder, tmp_path / "source", **values)
    assert run("import", source, "--output", "runs/all", "--mesh", "data=1", cwd=tmp_path).code == 0
    asked = ("--prompt", "plum", "--max_new_tokens", 3, "--mesh", "data=1")
    answers = run("generate", "--run_dir", "runs/all", *asked, cwd=tmp_path)
    assert answers.code == 0 and not answers.out.strip(), answers  # its first token ends it
    done = run("export", "runs/all", "out", "--mesh", "data=1", cwd=tmp_path)
    assert done.code == 0 and ": LlamaForCausalLM, " in done.out, done.err
    said = json.loads((tmp_path / "out/config.json").read_text())
    assert said == CONFIG | values | {"architectures": ["LlamaForCausalLM"]}
    said = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert said == {name: values[name] for name in ("eos_token_id", "pad_token_id", "bos_token_id")}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"eos_token_id": ["</s>"]}, ("eos_token_id is ['</s>'], wanted the id of a token",)),
        (
            {"rope_theta": "big", "rope_scaling": "linear", "hidden_act": ["silu"]},
            ("rope_theta is 'big'", "rope_scaling is 'linear'", "hidden_act is ['silu']"),
        ),
        ({"model_type": ["llama"], "architectures": 5}, ("model_type is ['llama']", "architectures is 5")),
        ({"architectures": "BertModel"}, ("architectures is 'BertModel', wanted a list of words",)),
    ],
)
def test_a_config_of_other_types_is_refused_before_anything_is_written(values, words, folder, tmp_path):
    source = changed(folder, tmp_path / "source", **values)
    check_refused(run("import", source, "--output", "runs/bad", cwd=tmp_path), *words)
    assert not (tmp_path / "runs").exists()


def test_a_config_that_is_not_utf_8_is_refused(folder, tmp_path):
    source = changed(folder, tmp_path / "source")
    (source / "config.json").write_bytes(json.dumps(CONFIG | {"by": "é"}, ensure_ascii=False).encode("latin-1"))
    check_refused(run("import", source, "--output", "runs/bad", cwd=tmp_path), "config.json cannot be read as JSON")
    (source / "model.safetensors").unlink()
    check_refused(
        run("import", source, "--output", "runs/bad", cwd=tmp_path), "config.json is not UTF-8 (byte 0xe9 in line 1)"
    )


def test_what_the_folders_config_cannot_say_is_refused(imported):
    kept = configs.load_run(imported / "runs/tiny")
    path = imported / "runs/tiny/config.json"
    whole = path.read_text()
    try:
        for changes, word in (({"norm_eps": 1e-3}, "Model.norm_eps 0.001"), ({"prefix_lm": True}, "Model.prefix_lm")):
            changed = dataclasses.replace(kept, model=dataclasses.replace(kept.model, **changes))
            path.write_text(configs.to_json(changed))
            check_refused(run("export", "runs/tiny", "other", cwd=imported), word)
        path.write_text(configs.to_json(dataclasses.replace(kept, lora=LoraConfig(rank=2, rows=(3, 4)))))
        told = "trained the rows of 2 tokens beside its adapter, which its base has not: leave --adapter out"
        check_refused(run("export", "runs/tiny", "other", "--adapter", cwd=imported), told)
    finally:
        path.write_text(whole)


def test_a_model_is_imported_as_it_is(folder, tmp_path):
    done = run("import", folder, "--output", "runs/new", "--special_tokens", "<|a|>", cwd=tmp_path)
    check_refused(done, "SPECIAL_TOKENS: a model is imported as it is; give them to `flan-jax train --init_from")


def test_what_is_no_folder_or_no_run_is_refused(tmp_path):
    check_refused(run("import", "nowhere", cwd=tmp_path), "no run in 'nowhere'", "Hugging Face")
    check_refused(run("export", "nowhere", "out", cwd=tmp_path), "no run in 'nowhere'")
    check_refused(run("export", "nowhere", "out", "--dtype", "int8", cwd=tmp_path), "--dtype", "int8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/model.safetensors").write_bytes(b"")
    check_refused(run("import", "empty", cwd=tmp_path), "has no config.json")


def test_a_damaged_export_is_not_called_done(imported, monkeypatch):
    from flan_jax.models.hugging_face import exporting

    whole = exporting.Placement.to_file
    monkeypatch.setattr(exporting.Placement, "to_file", lambda place, array: whole(place, array)[..., ::-1])
    check_refused(run("export", "runs/tiny", "bad", "--mesh", "data=1", cwd=imported), "does not give the run's logits")
