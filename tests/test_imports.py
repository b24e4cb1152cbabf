"""The import rule of the design, and what importing costs."""

import ast
import graphlib
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SOURCES = sorted((ROOT / "flan_jax").rglob("*.py"))

# From the ground up: no room imports one above it, wherever the import stands. Files of flan_jax/ are rooms too.
ORDER = (
    *("errors", "names", "annotations", "progress", "tables", "child_process", "huge_pages", "library_noise"),
    *("files", "text", "tasks", "parallel", "data", "models", "config", "training"),
    *(
        "teacher_plan",
        "setup",
        "run_data",
        "plan_table",
        "plan_estimate",
        "plan_text",
        "plan_comparison",
        "run_lock",
        "run_folder",
        "run_checkpoint",
    ),
    *("inference", "evaluation", "stage_tasks", "commands", "train", "stages", "sweep", "main"),
)
# Rooms below, which are none of a room's business nevertheless.
FORBIDDEN = {
    "parallel": {"tasks"},
    "models": {"data", "tasks"},
    "inference": {"data", "tasks", "training"},
    "train": {"commands"},
    "stages": {"commands"},
    "sweep": {"commands"},
}
TENSORFLOW = {"tensorflow", "tensorflow_text", "tensorflow_datasets", "seqio"}


def imported(nodes) -> set[str]:
    """Every module, and every name taken from one, as dotted names."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module and not node.level, "relative imports are not used here"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports_by_kind(path: pathlib.Path, modules: set[str]) -> dict[str, set[str]]:
    """The modules that a file imports: when it is imported itself, inside functions, and for its types alone."""
    found: dict[str, set[str]] = {"at import": set(), "in functions": set(), "for types": set()}

    def visit(node: ast.AST, kind: str) -> None:
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                names = imported([inner]) & modules  # of a package and a module in it, the module is meant
                found[kind] |= {one for one in names if not any(other.startswith(f"{one}.") for other in names)}
            elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                visit(inner, "in functions")
            elif isinstance(inner, ast.If) and "TYPE_CHECKING" in ast.unparse(inner.test):
                visit(inner, "for types")
            else:
                visit(inner, kind)

    visit(ast.parse(path.read_text()), "at import")
    return found


def room_of(path: pathlib.Path) -> str:
    """The room; of the data process, which may hold seqio, the folder in it too."""
    parts = path.relative_to(ROOT / "flan_jax").with_suffix("").parts
    return "data/preparing" if parts[:2] in (("data", "preparing"), ("data", "hygiene")) else parts[0]


def faults(room: str, text: str) -> list[str]:
    """What a source file of that room imports against the rule."""
    tree = ast.parse(text)
    anywhere, at_top = imported(ast.walk(tree)), imported(tree.body)
    rooms = {name.split(".")[1] for name in anywhere if name.startswith("flan_jax.")}
    floor = ORDER.index(room.partition("/")[0]) if room != "__init__" else -1
    above = {other for other in rooms if other in ORDER and ORDER.index(other) > floor}
    found = [f"{room} imports {other}" for other in sorted(above | rooms & FORBIDDEN.get(room, set()))]
    in_the_child = ("flan_jax.data.preparing", "flan_jax.data.hygiene.")
    if room == "data" and any(name.startswith(in_the_child) for name in anywhere):
        found.append("what the data process does")
    heavy = sorted({name.split(".")[0] for name in at_top} & TENSORFLOW)
    if room != "tasks":
        found += [f"{name} at import time" for name in heavy]
        # Their modules import seqio: only what runs in the data process may, and inside functions.
        if any(name.startswith("flan_jax.tasks") for name in at_top):
            found.append("flan_jax.tasks at import time")
        if room != "data/preparing" and {name.split(".")[0] for name in anywhere} & TENSORFLOW:
            found.append("TensorFlow or seqio outside tasks and data/preparing")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_keeps_the_import_rule(path):
    assert faults(room_of(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("room", "text", "fault"),
    [
        ("tasks", "def f():\n    from flan_jax.models import build\n", "tasks imports models"),
        ("parallel", "import flan_jax.training.step\n", "parallel imports training"),
        ("training", "from flan_jax import train\n", "training imports train"),
        ("data/preparing", "import seqio\n", "seqio at import time"),
        (
            "data",
            "def f():\n    from flan_jax.data.preparing import child\n",
            "what the data process does",
        ),
        ("text", "from flan_jax.data import rows\n", "text imports data"),
        ("inference", "from flan_jax.training.loss import losses_of\n", "inference imports training"),
        ("train", "from flan_jax.commands.plan import plan_command\n", "train imports commands"),
        ("evaluation", "from flan_jax.tasks import jsonl\n", "flan_jax.tasks at import time"),
        ("training", "def f():\n    import tensorflow as tf\n", "TensorFlow or seqio outside tasks and data/preparing"),
    ],
)
def test_the_rule_sees_what_it_forbids(room, text, fault):
    assert fault in faults(room, text)


@pytest.mark.parametrize("kinds", [1, 2, 3], ids=["at import", "and in functions", "and for types"])
def test_no_file_imports_in_a_circle(kinds):
    """Not even by imports inside functions: two files that need one another are one, or lack a third."""
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in SOURCES}
    graph = {}
    for path, name in names.items():
        found = list(imports_by_kind(path, set(names.values())).values())
        graph[name] = set().union(*found[:kinds]) - {name}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(graph)  # raises at a circle


def test_one_file_imports_gin():
    top = {path: {name.split(".")[0] for name in imported(ast.walk(ast.parse(path.read_text())))} for path in SOURCES}
    assert [path for path in SOURCES if "gin" in top[path]] == [ROOT / "flan_jax/config/binding.py"]


WITNESS = """
import importlib, pkgutil, sys

opened = []
def watch(event, arguments):
    if event == "socket.connect":
        opened.append("a socket")
    if event == "open" and isinstance(arguments[0], str):
        opened.append(arguments[0])
sys.addaudithook(watch)

import flan_jax, flan_jax.mixtures, jax
names = []
for package in (flan_jax, flan_jax.mixtures):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
            names.append(module.name)
# An environment may lie within the clone; what libraries read of themselves is theirs.
inside = [path for path in opened if path.startswith(sys.argv[1]) and not path.startswith(sys.prefix)]
print("modules", len(names))
print("opened", sorted({path for path in inside if not path.endswith((".py", ".pyc")) and "__pycache__" not in path}))
print("read", any(path.endswith((".py", ".pyc")) or "__pycache__" in path for path in inside))
print("arrays", len(jax.live_arrays()), "sockets", opened.count("a socket"))
"""


def test_importing_everything_reads_no_file_and_makes_no_array():
    done = subprocess.run(
        [sys.executable, "-c", WITNESS, str(ROOT)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert int(said["modules"]) > 60
    assert said["opened"] == "[]" and said["read"] == "True"
    assert said["arrays"] == "0 sockets 0"


def test_the_list_of_packages_is_whole():
    """setuptools takes the list as it stands: a folder that is not in it is missing from the wheel."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    places = {"flan_jax": ROOT / "flan_jax"}
    places |= {name: ROOT / folder for name, folder in listed["package-dir"].items()}
    on_disk = set()
    for name, top in places.items():
        for folder in [top, *(path for path in top.rglob("*") if path.is_dir())]:
            if any(folder.glob("*.py")):
                assert (folder / "__init__.py").exists(), f"{folder.relative_to(ROOT)} has no __init__.py"
                on_disk.add(".".join([name, *folder.relative_to(top).parts]))
    assert sorted(listed["packages"]) == sorted(on_disk)
    # Folders without Python travel as the data of a package: the gin files do.
    patterns = listed["package-data"]
    packaged = {
        path
        for name, globs in patterns.items()
        for pattern in globs
        for path in places.get(name, ROOT / name.replace("flan_jax.mixtures", "mixtures").replace(".", "/")).glob(
            pattern
        )
    }
    assert set((ROOT / "gin_configs").rglob("*.gin")) <= packaged and (ROOT / "flan_jax/py.typed") in packaged
    assert set((ROOT / "mixtures").rglob("*.model")) <= packaged
