"""A folder of JSON Lines files (prompt, completion), each a task of its own, and the mixture `t0` of them all."""

import os
import pathlib

from flan_jax.tasks import InstructionTask, jsonl, mixture

FOLDER = pathlib.Path(os.environ.get("FLAN_JAX_T0", "../shared/data/t0_train_50k")).absolute()
FILES = [path for path in sorted(FOLDER.glob("*.jsonl")) if not path.stem.startswith("trec_")]  # have no completions


def fields(row):
    return {"prompt": row["prompt"], "answer": row["completion"].removesuffix("<|endoftext|>").strip()}


for path in FILES:
    # A prompt holds its instruction at either end: one that is too long loses its middle.
    how = {"templates": ("{prompt}",), "preprocess": fields, "trim_from": "middle"}
    InstructionTask(name=path.stem, source=jsonl(path), **how).register()

mixture("t0", [path.stem for path in FILES], cap=100)
