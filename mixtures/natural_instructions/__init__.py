"""Natural Instructions (Mishra et al., 2022): tasks under the instructions that crowd workers were given for them.

    Data.corpora = {"natural_instructions": "FOLDER"}
    MIXTURE = "natural_instructions"                        # "natural_instructions.prompt", ".without_definition", ...

See `flan_jax.tasks.formats.natural_instructions` for a rendered sample and the encodings.
"""

from flan_jax.tasks.formats import natural_instructions
from flan_jax.tasks.task_folders import TaskFolder, declare

NAME = "natural_instructions"

FOLDER = declare(
    TaskFolder(
        NAME,
        gives=(NAME, f"{NAME}_*", f"{NAME}.*"),
        get="the task files that instructions.apps.allenai.org has, tasks/*.json; each data set's own terms hold",
        register=lambda folder: natural_instructions.folder(folder, NAME).register(),
    )
)
