"""The ready mixtures of folders that users get themselves: known by name at once, there once the run says where."""

import json

import pytest
import seqio

from flan_jax.mixtures import natural_instructions, super_natural_instructions
from flan_jax.tasks import task_folders

pytestmark = pytest.mark.usefixtures("own_registries")


@pytest.mark.parametrize("module", [natural_instructions, super_natural_instructions])
def test_the_run_says_where_a_folder_lies(module, tmp_path):
    head = {"Title": "T", "Definition": "Do.", "Categories": ["Data to Text"], "Examples": {}}
    instances = {"Instances": [{"input": "a", "output": "b"}]}
    (tmp_path / "task1-a.json").write_text(json.dumps({**head, **instances}))
    task_folders.register({module.FOLDER.name: str(tmp_path)})
    known = {*seqio.MixtureRegistry.names(), *seqio.TaskRegistry.names()}
    encoded = {"natural_instructions": "prompt", "super_ni": "definition"}[module.NAME]
    assert {module.NAME, f"{module.NAME}_task1_a", f"{module.NAME}.{encoded}"} <= known
    told = next(entry for entry in task_folders.entries() if entry["name"] == module.FOLDER.name)
    assert told["gives"] == [module.NAME, f"{module.NAME}_*", f"{module.NAME}.*"] and "Data.corpora" in told["why"]
