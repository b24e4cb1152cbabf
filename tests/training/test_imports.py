import subprocess
import sys

CHECK = """
import pkgutil, importlib, sys
import flan_jax.training
names = [module.name for module in pkgutil.iter_modules(flan_jax.training.__path__)]
for name in names:
    importlib.import_module("flan_jax.training." + name)
import tempfile
from flan_jax.training.metrics import MetricsWriter
from flan_jax.training.checkpoints import Checkpoints
with tempfile.TemporaryDirectory() as folder:
    writer = MetricsWriter(folder, 0)
    writer.write(1, {"x": 1.0})
    writer.close()
    checkpoints = Checkpoints(folder + "/checkpoints")
    checkpoints.latest()
    checkpoints.close()
print(len(names), sorted(set(sys.modules) & {"tensorflow", "seqio", "gin", "clu"}))
"""


def test_training_holds_no_tensorflow():
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=120, check=True)
    count, found = done.stdout.strip().split(" ", 1)
    assert int(count) >= 7 and found == "[]"
