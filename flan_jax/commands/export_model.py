"""`flan-jax export`: a run as a Hugging Face folder that transformers and vLLM load, read back before it says done."""

import dataclasses
import pathlib
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from flan_jax.commands.export_adapter import export_adapter
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.models.config import ModelConfig
from flan_jax.models.hugging_face import exporting, load_params, originals, read_folder
from flan_jax.models.hugging_face.checking import PROMPTS, check_ids, logits_on
from flan_jax.models.hugging_face.expressing import Scales, config_json, differences
from flan_jax.models.hugging_face.families import family_of, model_config
from flan_jax.parallel import mesh as meshes
from flan_jax.parallel import multihost
from flan_jax.text import kept_vocabulary as vocabulary
from flan_jax.text import sentencepiece_files
from flan_jax.text.codec import Codec
from flan_jax.text.tokenizer_fields import read_json
from flan_jax.text.tokenizer_folder import GENERATION, SENTENCEPIECE_FILES, TOKENIZER
from flan_jax.training import start
from flan_jax.training.checkpoints import Checkpoints

FOLDED = 1e-4  # the largest share of the largest logit by which folded scales may move one

_GENERATION_IDS = ("bos_token_id", "decoder_start_token_id", "eos_token_id", "pad_token_id")


@dataclasses.dataclass(frozen=True)
class _Form:
    """What the folder is to hold beside the weights.

    Attributes:
      raw: config.json.
      name: the class of transformers that computes it.
      scales: factors of parameters that the family computes without.
      layout: tensors' types in the folder that the run's model came from.
    """

    raw: Mapping[str, Any]
    name: str
    scales: Scales
    layout: Mapping[str, str] | None


def export_command(
    config: RunConfig, folder: str, step: int | None = None, dtype: str | None = None, adapter: bool = False
) -> int:
    """Writes a checkpoint of a run as a folder, reads it back and compares.

    Args:
      config: the run, read back from its folder.
      folder: to be made; adapters, if the run has any, are folded into the weights.
      step: which checkpoint; by default the latest.
      dtype: of the weights; by default float32, or as they came where nothing was trained yet.
      adapter: write the adapter alone, as a folder of PEFT's kind.

    Raises:
      UserError: no family of transformers computes this model, the folder is there already, or what was written does
        not give the run's ids or logits.
    """
    multihost.initialize()
    run_dir, target = pathlib.Path(config.run_dir), pathlib.Path(folder)
    exporting.check_empty(target)
    multihost.wait("export begins")  # the first process makes the folder
    described = vocabulary.kept(run_dir)
    if described is None:
        raise UserError(f"{run_dir} holds no vocabulary.json: no run was started there; name one that was")
    step = _step_of(run_dir, step)
    form = _form_of(config, described)
    if adapter:
        return export_adapter(config, target, step, form.scales)
    if dtype is None and (step > 0 or form.layout is None or config.lora.init_from):
        dtype = "float32"
    _check_tokenizer(run_dir, described)
    mesh = meshes.make_mesh(config.mesh)
    params = start.merged_params(config, described, mesh, step, averaged=config.evaluation.averaged)
    files = exporting.save_folder(
        target, params, config.model, form.raw, dtype=dtype, layout=form.layout, scales=form.scales
    )
    if jax.process_index() == 0:
        _write_beside(run_dir, target, config.model, form.raw, described)
    multihost.wait("exported")
    ids = check_ids(target, Codec(described))
    model = dataclasses.replace(config.model, dtype="float32", dropout_rate=0.0)
    ours = logits_on(ids, _rounded(params, dtype), model, mesh)
    del params
    _compare(target, ids, ours, model, mesh, bool(form.scales))
    if jax.process_index() == 0:
        size = sum(path.stat().st_size for path in files)
        types = dtype or "the types it came in"
        print(f"step {step} of {run_dir}: {form.name}, {size / 1e9:.2f} GB in {types}, in {target}")
        print(f"read back: {len(PROMPTS)} prompts give {_same(target, dtype, bool(form.scales))}")
    return 0


def _step_of(run_dir: pathlib.Path, step: int | None) -> int:
    with closing(Checkpoints(run_dir / "checkpoints", read_only=True)) as checkpoints:
        found = checkpoints.latest() if step is None else step
    if found is None:
        raise UserError(f"{run_dir} holds no checkpoint; train it first with `flan-jax train`")
    return found


def _form_of(config: RunConfig, described: Mapping[str, Any]) -> _Form:
    """How the run's model is said to transformers."""
    if config.model.prefix_lm:
        raise UserError(
            "Model.prefix_lm is True: this model reads its prompts in both directions, which no decoder of "
            "transformers does; train with Model.prefix_lm = False to export it"
        )
    layout = originals.layout(config.run_dir)
    if layout is None:
        raw, scales = config_json(config.model, eos_id=described["eos_id"], pad_id=described.get("pad_id") or 0)
        return _Form(raw, raw["architectures"][0], scales, None)
    raw = read_json(pathlib.Path(config.run_dir) / originals.KEPT / "config.json")
    # Whether the head is tied follows from the files as well, and is no setting of the run's.
    theirs = dataclasses.replace(model_config(raw), tie_embeddings=config.model.tie_embeddings)
    changed = differences(config.model, theirs)
    if changed:
        raise UserError(
            f"the run computes another model than the folder that it came from: {', '.join(changed)}; leave those "
            "settings as they were to export it"
        )
    name = family_of(raw)[1].architectures[0]
    if not raw.get("architectures"):
        raw = {**raw, "architectures": [name]}
    return _Form(raw, name, {}, layout)


def _check_tokenizer(run_dir: pathlib.Path, described: Mapping[str, Any]) -> None:
    """Refuses to hand out a kept tokenizer that is not the run's vocabulary, before anything is written."""
    kept = run_dir / originals.KEPT
    if described["kind"] == "sentencepiece" and "extra_ids" not in described:
        raise UserError(
            f"{run_dir / 'vocabulary.json'} is damaged (it lacks extra_ids); delete it, and the run's own "
            "`flan-jax train` command writes it anew"
        )
    try:
        vocabulary.check_folder(described, kept)
    except UserError:
        raise UserError(
            f"the tokenizer in {kept} is damaged or another's: it is not {described.get('path')}, which the model was "
            "trained with; copy the files of the folder that the model came from there"
        ) from None


def _write_beside(
    run_dir: pathlib.Path,
    target: pathlib.Path,
    model: ModelConfig,
    raw: Mapping[str, Any],
    described: Mapping[str, Any],
) -> None:
    """Tokenizer, chat template and generation config: those that the model came with, else the run's own."""
    names = originals.copy_beside(run_dir, target)
    if not any(name.startswith(("tokenizer.", "spiece.")) for name in names):
        path = pathlib.Path(described.get("path") or "")
        if described["kind"] == "sentencepiece":
            begin = model.begin_id if model.architecture == "decoder" else -1
            sentencepiece_files.write_tokenizer(path, target, described["extra_ids"], begin)
        elif described["kind"] == "tokenizers":
            originals.copy_files(path.parent, target, originals.TOKENIZER_FILES)
        else:
            print(f"no tokenizer is written: the run's vocabulary is of kind {described['kind']!r}")
    if GENERATION not in names:
        generation: dict[str, Any] = {"pad_token_id": described.get("pad_id") or 0}
        if model.begin_id >= 0:
            key = "bos_token_id" if model.architecture == "decoder" else "decoder_start_token_id"
            generation[key] = model.begin_id
        # Where there is no such file, transformers takes these from config.json.
        generation |= {key: raw[key] for key in _GENERATION_IDS if raw.get(key) not in (None, -1)}
        atomic.write_json(target / GENERATION, generation)
    originals.add_ends(target, described.get("eos_ids") or [described["eos_id"]])


def _same(target: pathlib.Path, dtype: str | None, folded: bool) -> str:
    """What reading a folder back has shown, in words."""
    ids = "the same ids and " if any((target / name).is_file() for name in (TOKENIZER, *SENTENCEPIECE_FILES)) else ""
    if folded:
        return f"{ids}the same logits but for rounding, as scales that transformers has not are folded into weights"
    of_what = "" if dtype in (None, "float32") else f", as the run's weights in {dtype} do"
    return f"{ids}the same logits, bit for bit{of_what}"


def _rounded(params: Any, dtype: str | None) -> Any:
    """Parameters with the values that they have in the files."""
    if dtype is None or dtype == "float32":
        return params
    return jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(dtype)).astype(leaf.dtype), params)


def _compare(
    target: pathlib.Path, ids: list[list[int]], ours: np.ndarray, model: ModelConfig, mesh: Mesh, folded: bool
) -> None:
    """Reads the folder back and compares its logits with the run's."""
    found = read_folder(target)
    how = {name: getattr(model, name) for name in ("dtype", "param_dtype", "unroll", "dropout_rate", "begin_id")}
    again = dataclasses.replace(found.model, **how)
    theirs = logits_on(ids, load_params(found, again, mesh), again, mesh)
    largest = float(np.abs(ours).max())
    apart = float(np.abs(ours - theirs).max())
    if not (apart <= FOLDED * largest if folded else np.array_equal(ours, theirs)):
        raise UserError(
            f"{target} was written, but does not give the run's logits when it is read back: they differ by "
            f"{apart:.3g}, the largest is {largest:.3g}; do not use it, and please report this with its config.json"
        )
