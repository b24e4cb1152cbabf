"""The index of what is registered: when it answers, and when the data process is asked anew."""

import contextlib
import os
import pathlib
import sys

import pytest

import flan_jax.mixtures
from flan_jax import main
from flan_jax.data import registrations
from flan_jax.data.request import WorkerSetup
from flan_jax.data.stores import mirror
from flan_jax.data.worker import Worker
from flan_jax.files import atomic, opened
from tests.project import check_refused, run


class Asked(Worker):
    """A data process of no user's tasks whose questions are counted; the shared one answers them.

    Args:
      shared: the one that answers.
      read: a file that counts as read at import.
      meanwhile: what happens while it answers.
    """

    def __init__(self, shared, read=None, meanwhile=lambda: None, **setup):
        super().__init__(WorkerSetup(**setup))
        self.shared, self.read, self.meanwhile, self.count = shared, read, meanwhile, 0

    def call(self, op, **arguments):
        self.count += 1
        self.meanwhile()
        answer = self.shared.call(op, **arguments)
        return answer | {"read": {str(self.read): opened.state_of(self.read)} if self.read else {}}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A cache of its own, a folder of mixtures beside the packaged ones, one of packages, and one of scripts."""
    for name in ("mixtures", "packages/seqio-1.0.dist-info", "scripts"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "scripts" / "cards.txt").write_text("Ten of hearts\n")
    (tmp_path / "mixtures" / "toy.py").write_text("SIZE = 1\n")
    (tmp_path / "mixtures" / "words.txt").write_text("one two")
    (tmp_path / "packages" / "toys.py").write_text("SIZE = 2\n")
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "cache"))
    folders = [*flan_jax.mixtures.__path__, str(tmp_path / "mixtures")]
    monkeypatch.setattr(flan_jax.mixtures, "__path__", folders)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "packages")])
    return tmp_path


@contextlib.contextmanager
def rewritten(path, text):
    """Other content of the same size, at the same time of change."""
    before, about = path.read_text(), path.stat()
    assert len(text) == about.st_size
    for content in (text, before):
        path.write_text(content)
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
        if content == text:
            yield


@contextlib.contextmanager
def renamed(path, name):
    path.rename(path.parent / name)
    yield
    (path.parent / name).rename(path)


CHANGES = {
    "a source's content": lambda place, _: rewritten(place / "mixtures/toy.py", "SIZE = 2\n"),
    "a data file's content": lambda place, _: rewritten(place / "mixtures/words.txt", "two one"),
    "a file more": lambda place, _: renamed(place / "packages/toys.py", "../mixtures/toys.py"),
    "a file less": lambda place, _: renamed(place / "mixtures/words.txt", "../words.txt"),
    "a version": lambda place, _: renamed(place / "packages/seqio-1.0.dist-info", "seqio-1.1.dist-info"),
    "a module beside": lambda place, _: renamed(place / "packages/toys.py", "../scripts/seqio.py"),
    "a file read at import": lambda place, _: rewritten(place / "scripts/cards.txt", "Two of hearts\n"),
    "another imported module": lambda _, folder: rewritten(
        folder / "user_tasks.py", (folder / "user_tasks.py").read_text().replace("maximum=20", "maximum=21")
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_index_answers_until_something_changes(place, worker, user_folder, change):
    asked = Asked(worker, read=place / "scripts/cards.txt", folders=(str(place / "scripts"),))
    first = registrations.listing(asked)
    assert registrations.listing(asked) == first and asked.count == 1
    assert {"starter", "starter_eval"} <= {entry["name"] for entry in first}
    with CHANGES[change](place, user_folder):
        registrations.listing(asked)
        assert asked.count == 2
        registrations.listing(asked)
        assert asked.count == 2


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text.replace("starter_eval", "startre_eval"), lambda _: ""]
)
def test_a_damaged_index_is_made_anew(place, worker, damage):
    asked = Asked(worker)
    first = registrations.listing(asked)
    (kept,) = (place / "cache").rglob("*.json")
    kept.write_text(damage(whole := kept.read_text()))
    assert registrations.listing(asked) == first and asked.count == 2
    assert kept.read_text() == whole


def test_an_answer_in_doubt_is_not_kept(place, worker, monkeypatch):
    toy = place / "mixtures" / "toy.py"
    changing = Asked(worker, meanwhile=lambda: toy.write_text(toy.read_text() + "# more\n"))
    # A mixture whose tasks hang on what nobody watches.
    looking = Asked(worker, meanwhile=lambda: None)
    # What a user's modules register may rest on anything.
    users = Asked(worker, modules=("user_tasks",))
    for asked in (changing, users, looking):
        if asked is looking:
            toy.write_text("import os\nSIZE = os.environ.get('SIZE')\n")
        for _ in range(2):
            registrations.listing(asked)
        assert asked.count == 2 and not list((place / "cache").rglob("*.json"))
    # The data process found another copy of flan_jax than this process did.
    toy.write_text("SIZE = 1\n")
    other = Asked(worker)
    monkeypatch.setattr(registrations, "PACKAGE", place)
    for _ in range(2):
        registrations.listing(other)
    assert other.count == 2 and not list((place / "cache").rglob("*.json"))


def test_without_a_cache_the_data_process_answers(place, worker, monkeypatch):
    (place / "taken").write_text("a file where the folder should be")
    monkeypatch.setenv(mirror.CACHE, str(place / "taken"))
    asked = Asked(worker)
    assert registrations.listing(asked) == registrations.listing(asked) and asked.count == 2


def test_names_are_told_without_a_data_process_the_second_time(tmp_path, monkeypatch):
    monkeypatch.setenv(mirror.CACHE, str(tmp_path / "cache"))
    started = []
    monkeypatch.setattr(Worker, "start", lambda self, start=Worker.start: (started.append(self), start(self))[1])
    wrong = {
        "train": ["--mixture", "startr", "--steps", 2],
        "plan": ["--mixture", "starter", "--eval_mixture", "startr", "--steps", 2, "--estimate"],
        "prepare": ["--mixture", "startr"],
        "vocab": ["--mixture", "startr", "--output", "made.model"],
        "inspect": ["--task", "startr"],
    }
    said = "no task or mixture is called 'startr'; did you mean 'starter'? Set {} to one that"
    check_refused(run("inspect", *wrong["inspect"], cwd=tmp_path), said.format("--task"))
    assert started
    started.clear()
    monkeypatch.setitem(main.ENTRY_POINTS, "train", "imports_jax:train")  # told before that
    for command, setting in zip(wrong, ("MIXTURE", "EVAL_MIXTURE", "MIXTURE", "MIXTURE", "--task"), strict=True):
        check_refused(run(command, *wrong[command], cwd=tmp_path), said.format(setting))
    check_refused(run("inspect", "--mixture", "startr", cwd=tmp_path), said.format("MIXTURE"))
    done = run("tasks", "starter", cwd=tmp_path)
    assert done.code == 0 and "starter_eval" in done.out and not started
    # What tasks may come to use was imported by then, and so is watched.
    (kept,) = (tmp_path / "cache").rglob("*.json")
    watched = {pathlib.Path(path).stem for path in atomic.read_sealed(kept)["sources"]}
    assert {"recognition", "chats", "text_objectives", "seqio_source"} <= watched
