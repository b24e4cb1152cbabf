"""What is registered with flan_jax, told without a data process: an index in the cache, see `mirror.cache`.

It is used again while all is as it was when the data process was asked: the content of every source file, which files
the folders of mixtures hold, what is installed, and what can be imported from the folders beside. Where any of it is
in doubt the data process is asked anew. Runs with modules or files of the user's always ask: what those register may
rest on anything.
"""

import fnmatch
import hashlib
import os
import pathlib
import re
import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from flan_jax import mixtures
from flan_jax.data.stores import mirror
from flan_jax.data.stores import store as stores
from flan_jax.data.worker import Worker
from flan_jax.errors import UserError, nearest
from flan_jax.files import atomic, opened
from flan_jax.names import names_in

PACKAGE = pathlib.Path(__file__).resolve().parents[1]  # of flan_jax
# A mixture that looks at more than its modules and the files that it opens may register otherwise at any time.
_LOOKS_AROUND = re.compile(rb"\b(environ\b|(getenv|listdir|scandir|iterdir|r?glob|walk|exists|is_file|is_dir)\()")


def listing(worker: Worker) -> list[dict[str, Any]]:
    """Every registered mixture and task with what is known without reading data.

    Args:
      worker: asked, and so started, only where the index does not say.
    """
    if worker.setup.has_users_tasks:
        return worker.call("list")["entries"]
    path = _path()
    before = _circumstances(worker.setup.folders)
    if (entries := _kept(path, before)) is not None:
        return entries
    answer = worker.call("list")
    # What changed while it answered may be in the answer or not.
    if answer["package"] == str(PACKAGE) and not _looks_around() and before == _circumstances(worker.setup.folders):
        _keep(path, {"circumstances": before, **answer})
    return answer["entries"]


def refuse_unknown(worker: Worker, names: Mapping[str, str | None], ask: bool = False) -> None:
    """Refuses names of mixtures or tasks that are not registered, as far as that is known here.

    Args:
      worker: the data process of the run.
      names: the name that each setting gives, if any.
      ask: whether to ask the data process where the index does not say, so that it does the next time.

    Raises:
      UserError: there is no such name.
    """
    if worker.setup.has_users_tasks:
        return
    entries = listing(worker) if ask else _kept(_path(), _circumstances(worker.setup.folders))
    if entries is None:
        return
    known = {entry["name"] for entry in entries if entry["kind"] in ("mixture", "task")}
    broken = {entry["name"]: entry["why"] for entry in entries if entry["kind"] == "broken"}
    folders = [entry for entry in entries if entry["kind"] == "folder"]
    for setting, given in names.items():
        for name in names_in(given or ""):
            if name not in known:
                raise unknown(name, known, setting, broken, folders)


def unknown(
    name: str,
    known: Collection[str],
    setting: str,
    broken: Mapping[str, str],
    folders: Iterable[Mapping[str, Any]],
) -> UserError:
    """What to say of a name that is not registered.

    Args:
      name: the name.
      known: those that are.
      setting: what gave it.
      broken: modules that could not be imported, and why.
      folders: the entries of folders of tasks, see `flan_jax.tasks.task_folders`.
    """
    for folder in folders:
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in folder["gives"]):
            return UserError(f"{setting} is {name!r}; {folder['why']}")
    return UserError(
        f"no task or mixture is called {name!r}{nearest(name, known) or '.'} "
        f"Set {setting} to one that `flan-jax tasks` lists; your own need --module"
        + "".join(
            f". It may be one that needs {module}, which cannot be imported ({why})" for module, why in broken.items()
        )
    )


def _circumstances(folders: Iterable[str]) -> dict[str, Any]:
    """All that registrations rest on and that is known before anything is imported."""
    python_path = os.environ.get("PYTHONPATH", "")
    beside = {os.path.abspath(folder) for folder in [".", *folders, *python_path.split(os.pathsep)]}
    package = [str(path) for path in PACKAGE.rglob("*.py")]
    return {
        "python": [sys.version, sys.prefix, python_path],
        "installed": sorted({name for folder in sys.path for name in _distributions(folder)}),
        "beside": {folder: names for folder in sorted(beside) if (names := _importable(folder))},
        "content": digests({*package, *_mixture_files()}),
    }


def _mixture_files() -> list[str]:
    """The files in the folders of mixtures, whatever they are."""
    found = (path for folder in mixtures.__path__ for path in pathlib.Path(folder).resolve().rglob("*"))
    return [str(path) for path in found if path.parent.name != "__pycache__" and path.is_file()]


def _looks_around() -> bool:
    paths = (path for path in _mixture_files() if path.endswith(".py"))
    return any(_LOOKS_AROUND.search(pathlib.Path(path).read_bytes()) for path in paths)


def _distributions(folder: str) -> list[str]:
    """What is installed in a folder of `sys.path`: names that tell the version too."""
    return [name for name in _names(folder) if name.endswith((".dist-info", ".egg-info", ".pth"))]


def _importable(folder: str) -> list[str]:
    """Names in a folder that Python could import, before or after what is installed."""

    def is_package(name: str) -> bool:
        return os.path.exists(os.path.join(folder, name, "__init__.py"))

    return sorted(name for name in _names(folder) if name.endswith((".py", ".so")) or is_package(name))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder or ".")
    except OSError:  # a zip file, or a folder that is no more
        return []


def digests(paths: Iterable[str]) -> dict[str, str | None]:
    """The content of files, by digests; None for one that cannot be read."""
    return {path: _digest(path) for path in sorted(paths)}


def _digest(path: str) -> str | None:
    try:
        return hashlib.blake2b(pathlib.Path(path).read_bytes(), digest_size=16).hexdigest()
    except OSError:
        return None


def _path() -> pathlib.Path:
    """One file for each copy of flan_jax and each Python it is used with."""
    name = hashlib.blake2b(f"{PACKAGE} {sys.prefix}".encode(), digest_size=8).hexdigest()
    return pathlib.Path(mirror.cache(), "registrations", f"{name}.json")


def _kept(path: pathlib.Path, circumstances: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The entries of the index, if it is undamaged and nothing that it rests on has changed since."""
    index = atomic.read_sealed(path)
    if index is None or index["circumstances"] != circumstances or digests(index["sources"]) != index["sources"]:
        return None
    return index["entries"] if all(opened.state_of(file) == state for file, state in index["read"].items()) else None


def _keep(path: pathlib.Path, index: Mapping[str, Any]) -> None:
    try:
        with stores.Lock(path):
            atomic.remove_partial(path.parent, path.name)
            atomic.write_sealed(path, index)
    except OSError:
        pass  # a cache that cannot be written costs time and nothing else
