"""The chain-of-thought data of the Flan collection (Longpre et al., 2023): nine data sets with written reasoning.

How much are two plums at 3?
Reason step by step, then give the answer.
→ Two plums are 2 x 3 = 6.
  So the answer is 6.

    flan_cot                all of them, reasoning first
    flan_cot_with_inverted  at 0.3 of their rates also the rationale, or the question, of an answer
    flan_cot_DATA_SET       one of them

They are made of the folder once the run says where it lies; a file that is not in it is left out.

    Data.corpora = {"flan_cot": "FLAN/flan/v2/cot_data"}
"""

from flan_jax.errors import UserError
from flan_jax.files import filesystem
from flan_jax.tasks import chain_of_thought, mixture, proportional
from flan_jax.tasks.task_folders import TaskFolder, declare

DATA_SETS = ("aqua", "creak", "ecqa", "esnli", "gsm8k", "qasc", "qed", "sensemaking", "strategyqa")
CAP = 100_000
INVERTED = 0.3


def register(folder: str) -> None:
    """Registers the data sets of a folder and their mixtures.

    Raises:
      UserError: none of them is there.
    """
    files = {name: f"{folder.rstrip('/')}/{name}_train.tsv" for name in DATA_SETS}
    there = {name: file for name, file in files.items() if filesystem.matching(file)}
    if not there:
        raise UserError(f"there is no {', '.join(file.rpartition('/')[2] for file in files.values())} in it.")
    names = [chain_of_thought(file, f"flan_cot_{name}", cap=CAP).register().name for name, file in there.items()]
    mixture("flan_cot", names, cap=CAP)
    inverted = [(f"{name}.inverted", proportional(cap=int(CAP * INVERTED), scale=INVERTED)) for name in names]
    mixture("flan_cot_with_inverted", [*names, *inverted], cap=CAP)


declare(
    TaskFolder(
        "flan_cot",
        gives=("flan_cot", "flan_cot_*"),
        get="flan/v2/cot_data/*_train.tsv of github.com/google-research/FLAN, Apache-2.0",
        register=register,
    )
)
