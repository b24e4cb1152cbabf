"""The tasks and mixtures of a folder of task files; see `instruction_folders` for how such a folder lies.

    NAME_STEM                     each file's task
    NAME, NAME_test               the tasks that train, and those that are scored
    NAME_CATEGORY                 those of a category that train
    NAME_xlingual, NAME_xlingual_test
    any of these mixtures.ENCODING, and .drawn_encodings

Registering reads of each file what stands before its instances at most, and holds none of them.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from flan_jax.errors import UserError, counted
from flan_jax.tasks import rates, task_folders
from flan_jax.tasks.formats import instruction_folders
from flan_jax.tasks.formats.instruction_folders import Layout
from flan_jax.tasks.instruction import InstructionTask

DRAWN = "drawn_encodings"
_HELD_OUT = 10  # of each file of a folder that says nothing of what is scored
_UNNAMED = re.compile(r"[^\w.]")  # what seqio does not take in a name
OfFile = Callable[[str, str, Mapping[str, str], frozenset[str]], InstructionTask]


@dataclasses.dataclass(frozen=True)
class TaskFiles:
    """A folder of task files, not yet read.

    Attributes:
      folder: where it lies.
      name: what the names of its tasks and mixtures begin with.
      of_file: declares the task of a file, given its path, the task's name, slices of its instances by split, and the
        tracks whose lists name it.
      encodings: what the names of its tasks' encodings end in.
      drawn: of these, "" being the plain task, those that `NAME.drawn_encodings` draws among; none for no such mixture.
      validation_rows: how many instances are scored of a task that is; None for what is usual.
      usual: how many that is, of a task that the folder's lists keep from training.
    """

    folder: str
    name: str
    of_file: OfFile
    encodings: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ()
    validation_rows: int | None = None
    usual: int = 100

    def register(self) -> "Registered":
        """Registers the tasks and mixtures; doing so twice changes nothing.

        Raises:
          UserError: the folder has no task files, or one that is none, or two whose tasks would have one name.
        """
        layout = instruction_folders.layout(self.folder)
        task_folders.rest_on(layout.rests_on)
        tracks = self._tracks(layout)
        tasks: dict[str, InstructionTask] = {}
        for stem, path in layout.files.items():
            name = f"{self.name}_{_UNNAMED.sub('_', stem)}"
            if twice := [other for other, task in tasks.items() if task.name == name]:
                raise UserError(
                    f"{self.folder}: {twice[0]} and {stem} would both be the task {name!r}; rename one of the files."
                )
            tasks[stem] = self.of_file(path, name, self._splits(layout, stem), tracks.get(stem, frozenset()))
        for task in tasks.values():
            task.register()
        mixtures = self._mixtures(layout, tasks)
        for name, members in mixtures.items():
            self._mixture(name, [tasks[member].name for member in members])
        self._note(layout)
        named = {name: [tasks[member].name for member in members] for name, members in mixtures.items()}
        return Registered(named.get(self.name, []), named.get(f"{self.name}_test", []))

    def _tracks(self, layout: Layout) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = {}
        for (track, _), names in layout.lists.items():
            for name in names:
                found.setdefault(name, set()).add(track)
        return {name: frozenset(tracks) for name, tracks in found.items()}

    def _splits(self, layout: Layout, stem: str) -> dict[str, str]:
        """Slices of a task's instances: all train but of a task that is scored, which is so on its first ones."""
        most = self.validation_rows
        if not layout.lists:
            most = _HELD_OUT if most is None else most
            return {"train": f"[{most}:]", "validation": f"[:{most}]"} if most else {"train": "[:]"}
        scored = any(part == "test" and stem in names for (_, part), names in layout.lists.items())
        most = self.usual if most is None else most
        if not scored or not most:
            return {"train": "[:]"}
        return {"train": f"[{most}:]", "validation": f"[:{most}]", "test": f"[:{most}]"}

    def _mixtures(self, layout: Layout, tasks: Mapping[str, InstructionTask]) -> dict[str, Sequence[str]]:
        """The stems of each mixture that has any."""
        train = layout.present("default", "train") if layout.lists else list(layout.files)
        found: dict[str, Sequence[str]] = {self.name: train, f"{self.name}_test": layout.present("default", "test")}
        for part, ending in (("train", ""), ("test", "_test")):
            found[f"{self.name}_xlingual{ending}"] = layout.present("xlingual", part)
        for category in sorted({tasks[stem].cluster for stem in train} - {""}):
            name = f"{self.name}_{category}"
            if name not in found:
                found[name] = [stem for stem in train if tasks[stem].cluster == category]
        return {name: stems for name, stems in found.items() if stems}

    def _mixture(self, name: str, members: Iterable[str]) -> None:
        """A mixture of tasks, and the same in each encoding."""
        members = list(dict.fromkeys(members))
        rates.mixture(name, members)
        for encoding in self.encodings:
            rates.mixture(f"{name}.{encoding}", [f"{member}.{encoding}" for member in members])
        if self.drawn:
            alike = [(f"{name}.{encoding}" if encoding else name, 1.0) for encoding in self.drawn]
            rates.mixture(f"{name}.{DRAWN}", alike)

    def _note(self, layout: Layout) -> None:
        """Leaves word of what the folder's lists and its files do not have of each other."""
        for (track, part), names in layout.lists.items():
            there = layout.present(track, part)
            ending = {"train": "", "test": "_test"}[part]
            mixture = f"{self.name}{'' if track == 'default' else f'_{track}'}{ending}"
            if len(there) < len(names):
                task_folders.note(
                    mixture,
                    f"{mixture}: {self.folder} has the files of {len(there)} of the {len(names)} tasks of "
                    f"splits/{track}/{part}_tasks.txt, {len(names) - len(there)} left out",
                )
        listed = {name for names in layout.lists.values() for name in names}
        if listed and (others := [stem for stem in layout.files if stem not in listed]):
            few = ", ".join(others[:3]) + ("" if len(others) <= 3 else ", …")
            task_folders.note(
                self.name, f"{self.name}: {counted(len(others), 'task')} in no list, and so in no mixture: {few}"
            )


@dataclasses.dataclass(frozen=True)
class Registered:
    """What a folder has become.

    Attributes:
      train: the names of the tasks that train.
      test: of those that are kept from training, to be scored.
    """

    train: Sequence[str]
    test: Sequence[str]
