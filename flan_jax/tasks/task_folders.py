"""Published folders of which each file is a task: known by name at once, registered when the run says where they lie.

    declare(TaskFolder(
        "natural_instructions",
        gives=("natural_instructions", "natural_instructions_*"),
        get="github.com/allenai/natural-instructions-v1, tasks/*.json",
        register=lambda folder: natural_instructions(folder, "natural_instructions").register(),
    ))

The setting is `Data.corpora`: {"natural_instructions": "FOLDER"}.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flan_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class TaskFolder:
    """A folder of task files that its users get themselves.

    Attributes:
      name: how `Data.corpora` calls it.
      gives: the names of the mixtures and tasks that come of it, `*` standing for any letters.
      get: where it is to be had, and under which terms.
      register: registers its tasks and mixtures, given where it lies.
    """

    name: str
    gives: tuple[str, ...]
    get: str
    register: Callable[[str], object]

    def told(self) -> str:
        """What to say to who names one of its mixtures and has not said where it lies."""
        return (
            f"it is made of a folder that you get yourself ({self.get}): set Data.corpora to {{{self.name!r}: "
            f"FOLDER}}, on the command line --gin.Data.corpora=\"{{'{self.name}': 'FOLDER'}}\""
        )


_FOLDERS: dict[str, TaskFolder] = {}
_RESTS_ON: dict[str, None] = {}
_NOTES: dict[str, list[str]] = {}


def declare(folder: TaskFolder) -> TaskFolder:
    """Makes a folder known; nothing is read."""
    _FOLDERS[folder.name] = folder
    return folder


def names() -> set[str]:
    """The names of all folders that are known."""
    return set(_FOLDERS)


def entries() -> list[dict[str, Any]]:
    """What listings tell of the folders, fit for JSON."""
    return [
        {"name": one.name, "kind": "folder", "gives": list(one.gives), "why": one.told()} for one in _FOLDERS.values()
    ]


def register(places: str | Mapping[str, str]) -> None:
    """Registers the tasks of the folders that the run says the place of.

    Args:
      places: the run's `Data.corpora`.

    Raises:
      UserError: a folder is not there, or is another one.
    """
    for name, place in () if isinstance(places, str) else places.items():
        if name in _FOLDERS:
            try:
                _FOLDERS[name].register(place)
            except UserError as fault:
                raise UserError(f"Data.corpora has {place!r} for {name!r}: {fault}") from None


def rest_on(paths: Iterable[str]) -> None:
    """Says that what is registered rests on these files and folders, beside the tasks' own files."""
    _RESTS_ON.update(dict.fromkeys(paths))


def rests_on() -> list[str]:
    """The files and folders whose change may change what is registered; some may not be there."""
    return list(_RESTS_ON)


def note(mixture: str, sentence: str) -> None:
    """Keeps what is to be said to who trains on a mixture, or scores one."""
    kept = _NOTES.setdefault(mixture, [])
    if sentence not in kept:
        kept.append(sentence)


def notes(mixture: str) -> list[str]:
    """What was noted of a mixture; of one in another encoding (MIXTURE.ENCODING) what was of MIXTURE."""
    return _NOTES.get(mixture, _NOTES.get(mixture.partition(".")[0], []))
