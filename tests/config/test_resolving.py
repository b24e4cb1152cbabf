"""A command line becomes a `RunConfig`: settings win in the order that `--help` says."""

import dataclasses

import pytest

from flan_jax.config.gin_files import config_folder
from tests.config.caller import SHAPE, resolved, write


def test_files_give_way_to_gin_flags_and_these_to_plain_flags():
    write("a.gin", 'MIXTURE = "a"\nSTEPS = 1\nBATCH_SIZE = 1\nSEED = 1\nModel.embed_dim = 64\n')
    write("b.gin", "BATCH_SIZE = 2\nSEED = 2\n")
    run = resolved("train", "--gin_file=a.gin", "--gin_file=b.gin", "--seed", "4", "--gin.SEED=3", "--gin.STEPS=3")
    assert (run.mixture, run.batch_size, run.steps, run.seed) == ("a", 2, 3, 4)
    assert run.model.embed_dim == 64 and run.model.local_heads  # over t5_starter.gin, which set both


# A demonstration is of `sweep`, and stages are several runs: see test_run_stages.py.
PACKAGED = sorted(
    path
    for path in config_folder().rglob("*.gin")
    if path.parent.name != "demonstrations" and not path.stem.startswith("stages")
)


@pytest.mark.parametrize("path", PACKAGED, ids=lambda path: path.stem)
def test_every_packaged_gin_file_resolves(path):
    if path.parent.name == "models":
        run = resolved("train", *SHAPE, "--model", path.stem)
        assert run.model_name == path.stem and run.model.architecture == {"t5": "encoder_decoder", "llama": "decoder"}[
            path.stem.split("_")[0]
        ]  # fmt: skip
    else:
        length = [] if "runs" in path.parts[-3:] else ["--steps", "3"]
        # What starts from a pretrained model needs its folder; a model of ours stands in for it.
        of_a_folder = path.stem in ("distillation_super_ni", "super_ni_gemma3_270m")
        model = ["--model", "llama_60m", "--init_from", "runs/a"] if of_a_folder else []
        run = resolved("plan", f"--gin_file={path.relative_to(config_folder())}", *length, *model)
        # Named after the mixture that it trains on; a run of a model of a size says that behind it.
        of_run = dict.fromkeys(
            ("augmented_flan2021_t5_base", "flan2021_t5_base", "flan2021_t5_base_rates"), "flan2021_zero_and_few_shot"
        )
        of_run |= dict.fromkeys(
            (
                "balanced_flan2021_llama_1b",
                "flan2021_llama_8b",
                "merged_llama_1b",
                "merged_rows_llama_1b",
                "muon_llama_1b",
            ),
            "flan2021",
        )
        of_run |= dict.fromkeys(
            ("super_natural_instructions", "distillation_super_ni", "super_ni_gemma3_270m"), "super_ni"
        )
        of_run |= {"natural_instructions": "natural_instructions", "pretrained": "starter_text_span_corruption"}
        of_run |= {"curriculum_llama_1b": "flan2021_without_nli"}
        assert run.mixture == of_run.get(path.stem, path.stem if path.stem.startswith("flan2021") else "starter")


def test_published_models_have_their_published_shapes():
    wanted = {
        "t5_1_1_small": (512, 1024, 6, 8), "t5_1_1_base": (768, 2048, 12, 12), "t5_1_1_large": (1024, 2816, 16, 24),
        "t5_1_1_xl": (2048, 5120, 32, 24), "llama_60m": (512, 1376, 8, 8), "llama_1b": (2048, 8192, 32, 16),
        "llama_8b": (4096, 14336, 32, 32),
    }  # fmt: skip
    for name, shape in wanted.items():
        model = resolved("train", *SHAPE, "--model", name).model
        assert (model.embed_dim, model.mlp_dim, model.num_heads, model.num_decoder_layers) == shape
        assert model.head_dim in (64, 128) and (model.architecture == "decoder" or model.num_encoder_layers == shape[3])


def test_the_operative_text_resolves_to_the_same_run():
    first = resolved("train", "--gin_file=quickstart.gin", '--gin.Optimizer.name="adafactor"', "--steps", "7")
    write("operative.gin", first.operative)
    again = resolved("train", "--gin_file=operative.gin")
    assert first.optimizer.name == "adafactor" and first.steps == 7
    same = {name: getattr(first, name) for name in ("operative", "bindings", "module_folders")}
    assert dataclasses.replace(again, **same) == first
