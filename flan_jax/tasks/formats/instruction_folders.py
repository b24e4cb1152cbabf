"""Folders of task files as they are published: which files are tasks, which train and which are scored.

    FOLDER/tasks/*.json                                      or FOLDER/*.json
    FOLDER/splits/{default,xlingual}/{train,test}_tasks.txt  a task's name a line; without them all files train

Neither seqio nor TensorFlow is needed here, and of the files no more is read than the smallest ones' heads.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence

from flan_jax.errors import UserError
from flan_jax.tasks.sources import task_files

SUFFIXES = (".json", ".json.gz")
TRACKS = ("default", "xlingual")
#: The modules of `flan_jax.tasks.formats` that know task files, and the keys that tell theirs; the first counts.
KINDS: Mapping[str, frozenset[str]] = {
    "natural_instructions": frozenset({"Title", "Definition", "Examples"}),
    "super_natural_instructions": frozenset({"Definition"}),
}
_LOOKED_AT = 3


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a folder of task files holds.

    Attributes:
      files: the files by their tasks' names, sorted by name.
      lists: the names of each list of tasks that is there: {("default", "train"): [...]}.
      rests_on: the folders and lists that say so; a change of one may change all of it.
    """

    files: Mapping[str, str]
    lists: Mapping[tuple[str, str], Sequence[str]]
    rests_on: tuple[str, ...]

    def present(self, track: str, part: str) -> list[str]:
        """The names of a list whose files are there."""
        return [name for name in self.lists.get((track, part), ()) if name in self.files]

    @property
    def is_scored(self) -> bool:
        """Whether it has tasks that are kept from training, to be scored."""
        return bool(self.present("default", "test"))


def kind_of(place: str | os.PathLike[str]) -> str | None:
    """Which of `KINDS` the task files of a folder are; None for anything else than a folder of such."""
    folder = pathlib.Path(place)
    if not folder.is_dir():
        return None
    smallest = sorted(_files(folder), key=lambda file: file.stat().st_size)[:_LOOKED_AT]
    for file in smallest:
        if task_files.is_task_file(str(file)):
            keys = task_files.head_of(str(file)).keys()
            return next((kind for kind, wanted in KINDS.items() if wanted <= keys), None)
    return None


def is_folder(place: object) -> bool:
    """Whether a place is a folder, of whatever."""
    return isinstance(place, str | os.PathLike) and os.path.isdir(place)


def layout(place: str | os.PathLike[str]) -> Layout:
    """What a folder of task files holds.

    Raises:
      UserError: it is no folder, has no task files, or two whose names differ in `.gz` alone.
    """
    folder = pathlib.Path(place)
    if not folder.is_dir():
        raise UserError(f"There is no folder {str(folder)!r}; one with tasks/*.json in it is wanted.")
    found: dict[str, str] = {}
    for file in _files(folder):
        name = task_files.stem(str(file))
        if name in found:
            raise UserError(f"{folder} has the task {name!r} twice ({found[name]} and {file}); take one of them out.")
        found[name] = str(file)
    if not found:
        raise UserError(f"{folder} has no task files; tasks/*.json in it are wanted, or *.json.")
    lists, read = {}, [str(folder), os.path.dirname(next(iter(found.values())))]
    for track in TRACKS:
        for part in ("train", "test"):
            file = folder / "splits" / track / f"{part}_tasks.txt"
            if file.is_file():
                lines = file.read_text(encoding="utf-8-sig").split("\n")
                lists[track, part] = [line.strip().removesuffix(".json") for line in lines if line.strip()]
            read.append(str(file))
    return Layout(found, lists, tuple(read))


def files_of(places: Iterable[str]) -> list[str]:
    """Files as they are, and of folders of task files those in them, with the lists that they rest on."""
    found = []
    for place in places:
        if is_folder(place):
            known = layout(place)
            found += [*known.files.values(), *(file for file in known.rests_on if os.path.isfile(file))]
        else:
            found.append(place)
    return found


def category_of(value: object) -> str:
    """What a task's first category is called in names: lower case, underscores.

    >>> category_of(["Fill in The Blank"]), category_of("Misc."), category_of(None)
    ('fill_in_the_blank', 'misc', '')
    """
    first = value[0] if isinstance(value, list) and value else value
    return re.sub(r"\W+", "_", first.lower()).strip("_") if isinstance(first, str) else ""


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """The task files of a folder, or what may be such; those in `tasks/` where that is there."""
    tasks = folder / "tasks"
    inside = (tasks if tasks.is_dir() else folder).iterdir()
    return sorted(file for file in inside if file.name.lower().endswith(SUFFIXES) and file.is_file())
