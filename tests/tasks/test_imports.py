import subprocess
import sys

import pytest

from flan_jax import tasks
from flan_jax.tasks import sources

CODE = """
import sys
opened = []
def watch(event, arguments):
    if event in ("open", "socket.connect") and watching:
        opened.append(str(arguments[0]))
watching = False
sys.addaudithook(watch)
import seqio, tensorflow, tensorflow_datasets  # what they read is theirs
watching = True
import flan_jax.tasks
import flan_jax.tasks.preview
[getattr(flan_jax.tasks, name) for name in flan_jax.tasks.__all__]
watching = False
print(sorted({path for path in opened if not path.endswith((".py", ".pyc", ".so")) and "__pycache__" not in path}))
"""


def test_importing_the_room_reads_no_file_and_opens_no_socket():
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert run.stdout.strip().splitlines()[-1] == "[]", run.stderr[-2000:]


def test_every_name_is_found_and_no_other():
    for room in (tasks, sources):
        assert all(getattr(room, name) is not None for name in room.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'jsnol'"):
            room.jsnol  # noqa: B018
