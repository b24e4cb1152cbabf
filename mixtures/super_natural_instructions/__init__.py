"""Super-Natural Instructions (Wang et al., 2022): 1,600 tasks, 756 of them in English to train on and 119 to be scored.

    Data.corpora = {"super_natural_instructions": "FOLDER"}
    MIXTURE = "super_ni"               # or "super_ni_question_rewriting", "super_ni.definition", ...
    EVAL_MIXTURE = "super_ni_test"

See `flan_jax.tasks.formats.super_natural_instructions` for a rendered sample, the encodings and the mixtures.
"""

from flan_jax.tasks.formats import super_natural_instructions
from flan_jax.tasks.task_folders import TaskFolder, declare

NAME = "super_ni"

FOLDER = declare(
    TaskFolder(
        "super_natural_instructions",
        gives=(NAME, f"{NAME}_*", f"{NAME}.*"),
        get="git clone of github.com/allenai/natural-instructions, Apache-2.0; each file names its instances' licence",
        register=lambda folder: super_natural_instructions.folder(folder, NAME).register(),
    )
)
