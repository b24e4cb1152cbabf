"""`train --lora`: adapters beside the model of another run, from the first step to an answer."""

import json
import pathlib
import shutil

import pytest

from tests.project import check_refused, losses, rows, run, write_rows

HOW = ["--lora", 4, "--steps", 12, "--save_period", 4, "--learning_rate", 0.02]
DROPS = ["--gin.Lora.dropout=0.1"]


@pytest.fixture(scope="module")
def base(project, trained, tmp_path_factory):
    """A copy of a run that tests may break."""
    folder = tmp_path_factory.mktemp("bases") / "base"
    shutil.copytree(trained, folder)
    return folder


@pytest.fixture(scope="module")
def tuned(project, base, tmp_path_factory):
    """A run of adapters beside it, scored before and after."""
    folder = tmp_path_factory.mktemp("runs") / "tuned"
    done = project.train(
        folder, *HOW, *DROPS, "--init_from", base, "--eval_mixture", "capitals", "--gin.Evaluation.before=True"
    )
    return folder, done


def test_adapters_are_trained_scored_and_asked(project, base, tuned):
    folder, done = tuned
    assert "training adapters of rank 4 beside 18 modules" in done.out and "stay as they are" in done.out
    found = losses(folder)
    assert len(found) == 12 and found[-1] < 0.9 * found[0]
    saved = {path.name for path in (folder / "checkpoints/12/params").iterdir()}
    names = " ".join(json.dumps(json.loads((folder / "checkpoints/12/params/_METADATA").read_text())).split())
    assert saved and "lora_a" in names and "kernel" not in names
    # At the start an adapter adds nothing: the base's own scores.
    before = json.loads((folder / "scores/step-0.json").read_text())["tasks"]
    of_base = {row["task"]: row for row in json.loads((base / "scores/step-30.json").read_text())["tasks"]}
    assert [row["metrics"] for row in before] == [of_base[row["task"]]["metrics"] for row in before]

    scored = project("eval", "--run_dir", folder)
    assert scored.code == 0 and "capitals" in scored.out, scored.err
    answer = project("generate", "--run_dir", folder, "--prompt", "What is the capital of Country 3?")
    assert answer.code == 0 and answer.out.endswith("\n"), answer.err


def test_a_run_that_was_cut_short_ends_with_the_same_bits(project, base, tuned, tmp_path):
    folder, _ = tuned
    cut = tmp_path / "cut"
    shutil.copytree(folder, cut)
    for step in (8, 12):
        shutil.rmtree(cut / f"checkpoints/{step}")
    done = project.train(cut, *HOW, *DROPS, "--init_from", base)
    assert "going on from step 4 of 12" in done.out
    assert rows(cut) == rows(folder)


def test_a_base_that_moved_is_found_and_another_one_is_refused(project, base, tuned, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(tuned[0], folder)
    note = json.loads((folder / "base.json").read_text())
    (folder / "base.json").write_text(json.dumps(note | {"folder": str(tmp_path / "gone")}))
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config.replace(str(base), str(tmp_path / "gone")))
    ask = ["generate", "--run_dir", folder, "--prompt", "What is the capital of Country 3?"]
    check_refused(project(*ask), "stand beside is gone", "--init_from")
    assert project(*ask, "--init_from", base).code == 0
    (folder / "base.json").write_text(json.dumps(note | {"fingerprint": "0" * 64}))
    check_refused(project(*ask, "--init_from", base), "is not the model that the adapters", "--init_from")
    for damaged, told in (
        ([], "it holds no object"),
        ({}, "it lacks folder"),
        (note | {"folder": 3}, "folder is '3'"),
        (note | {"fingerprint": None}, "fingerprint is 'None'"),
        (note | {"lora": []}, r"lora is '[]'"),
        (note | {"lora": {"rank": 4}}, "it lacks lora.alpha"),
    ):
        (folder / "base.json").write_text(json.dumps(damaged))
        check_refused(project(*ask, "--init_from", base), f"base.json is damaged ({told}); delete it")


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--lora", 4], ["LORA is 4, but INIT_FROM is not set"]),
        (["--init_from", "BASE", "--gin.Lora.targets='querry'"], ["'querry'", "did you mean 'query'", "'all-linear'"]),
        (["--init_from", "BASE", "--gin.Lora.base_dtype='int7'"], ["base_dtype", "'int8'"]),
        (["--init_from", "BASE", "--gin.Lora.dropout=1.0", "--gin.Lora.alpha=-1.0"], ["dropout is 1.0", "alpha is -1"]),
        (["--init_from", "BASE", "--gin.Lora.rank=8"], ["LORA = 8"]),
        (["--init_from", "BASE", "--run_dir", "TUNED", "--gin.Lora.alpha=1.0"], ["Lora.alpha was None, is 1.0"]),
    ],
)
def test_settings_that_cannot_be_are_told(project, base, tuned, tmp_path, change, told):
    argv = ["--lora", 4, "--gin_file", "run.gin", "--steps", 20, "--run_dir", tmp_path / "run"]
    words = [base if word == "BASE" else tuned[0] if word == "TUNED" else word for word in change]
    check_refused(project("train", *argv, *words), *told)


@pytest.fixture
def folder(tmp_path):
    """A small T5 of random weights as a Hugging Face folder, with the starter vocabulary."""
    import sentencepiece
    from flax import nnx

    from flan_jax.mixtures import starter
    from flan_jax.models import ModelConfig, build
    from flan_jax.models.hugging_face import exporting
    from flan_jax.models.hugging_face.expressing import config_json
    from flan_jax.text import sentencepiece_files

    vocabulary = pathlib.Path(starter.__file__).parent / "starter.model"
    size = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary)).get_piece_size()
    how = {"embed_dim": 32, "num_heads": 2, "mlp_dim": 48, "num_encoder_layers": 2, "num_decoder_layers": 1}
    how |= {"scale_attention": False, "tie_embeddings": False, "scale_logits": False}
    config = ModelConfig(vocab_size=size, **how)
    raw, scales = config_json(config, eos_id=1)
    target = tmp_path / "base"
    exporting.save_folder(target, nnx.split(build(config, nnx.Rngs(0)), nnx.Param)[1], config, raw, scales=scales)
    sentencepiece_files.write_tokenizer(vocabulary, target, 0, -1)
    return target


@pytest.mark.slow
def test_a_folder_is_tuned_and_given_back_merged_and_as_an_adapter(project, folder, tmp_path):
    said = [{"prompt": f"Which colour has thing number {i}?", "completion": ("red", "green")[i % 2]} for i in range(60)]
    data = write_rows(tmp_path / "pairs.jsonl", said)
    common = ["--data", data, "--feature_lengths", "inputs=48,targets=16", "--batch_size", 4, "--mesh", "data=1"]

    def go(*argv):
        done = run(*argv, "--store_dir", tmp_path / "stores", cwd=tmp_path, compiled=project.compiled)
        assert done.code == 0, done.err
        return done

    go("train", *common, "--init_from", folder, "--lora", 4, "--steps", 6, "--run_dir", "lora", "--learning_rate", 0.01)
    assert "bit for bit" in go("export", "lora", "merged").out
    assert "the same tensors" in go("export", "lora", "adapter", "--adapter").out
    # The adapter goes on where it was, and is the merged model once it is folded into its base.
    go("train", *common, "--init_from", "adapter", "--steps", 1, "--run_dir", "more")
    go("train", *common, "--init_from", "adapter", "--lora", 0, "--steps", 1, "--run_dir", "whole")
    loss = lambda name, step: read_scores(tmp_path / name, step)["user_data"]["loss"]
    assert loss("lora", 6) < loss("lora", 0)
    assert loss("more", 0) == pytest.approx(loss("lora", 6), rel=1e-5)
    assert loss("whole", 0) == pytest.approx(loss("lora", 6), rel=1e-5)
    go("import", "adapter", "--base", folder, "--output", "imported")
    go("export", "imported", "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (tmp_path / "merged/model.safetensors").read_bytes()
    how = {"cwd": tmp_path, "compiled": project.compiled}
    check_refused(run("export", "imported", "none", "--adapter", **how), "trained no adapter")
    refused = run("train", *common, "--init_from", "adapter", "--lora", 8, "--steps", 1, "--run_dir", "no", **how)
    check_refused(refused, "LORA is 8, its own is 4", "--lora 0")


def read_scores(run_dir, step):
    """What a run scored after a step, by task."""
    rows_ = json.loads((run_dir / f"scores/step-{step}.json").read_text())["tasks"]
    return {row["task"]: row["metrics"] for row in rows_}
