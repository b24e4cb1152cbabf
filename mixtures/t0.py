"""The prompted tasks of T0 (Sanh et al., 2021) as files of ready-made prompts and completions, a file each.

Is this review positive or negative? I left before the end.
→ negative

    t0        all files of the folder, each capped at 20,000 examples
    t0_FILE   one of them

    Data.corpora = {"t0": "FOLDER"}
"""

import dataclasses
import re

from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.tasks import mixture, pairs
from flan_jax.tasks.sources.file_source import keys
from flan_jax.tasks.task_folders import TaskFolder, declare

CAP = 20_000
_ODD = re.compile(r"[^A-Za-z0-9_.]")


def register(folder: str) -> None:
    """Registers the files of a folder and their mixture.

    Raises:
      UserError: there are none.
    """
    files = filesystem.matching(f"{folder.rstrip('/')}/*.jsonl") + filesystem.matching(
        f"{folder.rstrip('/')}/*.jsonl.gz"
    )
    if not files:
        raise UserError("there is no file *.jsonl, or *.jsonl.gz, in it.")
    names = [f"t0_{_ODD.sub('_', key)}" for key in keys(files)]
    for name, file in zip(names, files, strict=True):
        # Of some files upstream the completions are all empty, and some are without a row.
        dataclasses.replace(pairs(file, name, cap=CAP), may_be_empty=True).register()
    mixture("t0", names, cap=CAP)


declare(
    TaskFolder(
        "t0",
        gives=("t0", "t0_*"),
        get="JSONL files with prompt and completion, such as data/finetuning/t0_train_50k/data_per_template of "
        "github.com/yizhongw/self-instruct (the data sets under P3 have their own terms)",
        register=register,
    )
)
