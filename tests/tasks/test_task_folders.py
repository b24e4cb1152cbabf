import pytest

from flan_jax.data.registrations import unknown
from flan_jax.errors import UserError
from flan_jax.tasks import task_folders
from flan_jax.tasks.task_folders import TaskFolder


@pytest.fixture
def folder(monkeypatch):
    monkeypatch.setattr(task_folders, "_FOLDERS", {})
    given = []

    def register(place):
        if place == "wrong":
            raise UserError("there is no such folder")
        given.append(place)

    one = TaskFolder("ours", ("ours", "ours_*"), "git clone example.org/ours, MIT", register)
    return task_folders.declare(one), given


def test_tasks_of_a_folder_are_registered_once_the_run_says_where_it_lies(folder):
    one, given = folder
    task_folders.register("tfds")
    assert not given
    task_folders.register({"ours": "/data/ours", "sst2": "tfds"})
    assert given == ["/data/ours"] and task_folders.names() == {"ours"}
    with pytest.raises(UserError, match=r"Data.corpora has 'wrong' for 'ours': there is no such folder"):
        task_folders.register({"ours": "wrong"})


def test_who_names_one_of_its_mixtures_before_is_told_how_to_get_it(folder):
    said = str(unknown("ours_test", {"other"}, "EVAL_MIXTURE", {}, task_folders.entries()))
    assert said.startswith("EVAL_MIXTURE is 'ours_test'; it is made of a folder that you get yourself (git clone")
    assert "Data.corpora" in said and "'ours': 'FOLDER'" in said
    assert "did you mean" in str(unknown("othr", {"other"}, "MIXTURE", {}, task_folders.entries()))
