"""Ready mixtures of folders: registered when the run says where they lie."""

import json

import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.mixtures import flan_cot, t0
from flan_jax.tasks import registry, task_folders
from flan_jax.tasks.examples import examples
from flan_jax.tasks.rates import rate_of

pytestmark = pytest.mark.usefixtures("own_registries")

LENGTHS = {"inputs": None, "targets": None}


def members(mixture):
    return {task.name for task in seqio.MixtureRegistry.get(mixture).tasks}


def test_chains_of_thought(tmp_path):
    for name in ("creak", "gsm8k"):
        (tmp_path / f"{name}_train.tsv").write_text(f'Is "{name}" so?\\nYes or no?\tno\tIt is not so.\n' * 3)
    (tmp_path / "README.md").write_text("not data")
    task_folders.register({"flan_cot": str(tmp_path)})
    assert members("flan_cot") == {"flan_cot_creak", "flan_cot_gsm8k"}
    rates = rate_of("flan_cot_with_inverted", dict.fromkeys(members("flan_cot_with_inverted"), 1000))
    assert rates["flan_cot_creak"] == 1000 and rates["flan_cot_creak.inverted"] == pytest.approx(300)
    rates = rate_of("flan_cot_with_inverted", dict.fromkeys(rates, 10**6))
    assert rates["flan_cot_creak"] == 100_000 and rates["flan_cot_creak.inverted"] == 30_000
    one = next(examples("flan_cot_gsm8k", "train", LENGTHS))
    assert 'Is "gsm8k" so?\nYes or no?' in one.inputs_text and one.metric_target["field"] == "no"
    with pytest.raises(UserError, match=r"Data.corpora has .* for 'flan_cot': there is no aqua_train.tsv, creak_train"):
        task_folders.register({"flan_cot": str(tmp_path / "elsewhere")})


def test_a_file_is_a_task_of_t0(tmp_path):
    for name in ("glue_mrpc", "trec-1.v2"):
        rows = [{"prompt": f"{name}?", "completion": "yes<|endoftext|>" if name == "glue_mrpc" else "<|endoftext|>"}]
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(rows[0]) + "\n")
    task_folders.register({"t0": str(tmp_path)})
    assert members("t0") == {"t0_glue_mrpc", "t0_trec_1.v2"}
    assert [one.targets_text for one in examples("t0_glue_mrpc", "train", LENGTHS)] == ["yes"]
    assert not list(examples("t0_trec_1.v2", "train", LENGTHS)) and registry.declared("t0_trec_1.v2").may_be_empty
    assert rate_of("t0", {"t0_glue_mrpc": 50_000, "t0_trec_1.v2": 0}) == {"t0_glue_mrpc": 20_000, "t0_trec_1.v2": 0}
    with pytest.raises(UserError, match=r"Data.corpora has .* for 't0': there is no file \*.jsonl"):
        task_folders.register({"t0": str(tmp_path / "elsewhere")})


def test_real_folders(real_data):
    task_folders.register({"flan_cot": str(real_data / "flan_cot"), "t0": str(real_data / "t0_train_50k")})
    assert len(members("flan_cot")) == 4 and len(members("t0")) == 288
    assert set(flan_cot.DATA_SETS) > {name.removeprefix("flan_cot_") for name in members("flan_cot")}
    assert registry.declared("t0_glue_mrpc_equivalent").cap == t0.CAP
    one = next(examples("t0_glue_mrpc_equivalent", "train", LENGTHS))
    assert one.inputs_text and "endoftext" not in one.targets_text
