"""`tasks`: what is registered, and how it is searched."""

import pytest

pytestmark = pytest.mark.usefixtures("warm")


def test_the_users_tasks_stand_beside_the_packaged_ones(project):
    done = project("tasks", "--module", "user_tasks")
    assert done.code == 0
    lines = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert "ranking: accuracy" in lines["parity"] and "generation: exact_match" in lines["capitals"]
    assert {"starter", "ours", "shout", "capitals.held_out_templates"} <= set(lines)
    assert lines["ours"].split() == ["ours", "2"]


def test_a_search_keeps_names_that_hold_every_word(project):
    done = project("tasks", "capitals templates", "--module", "user_tasks")
    assert done.code == 0
    assert "capitals.held_out_templates" in done.out and "parity" not in done.out
    assert "0 mixtures, 1 task;" in done.out
    assert "prose" in project("tasks", "span_corruption").out  # by objective
    # What comes of a folder that its users get is found by its mixtures' names, before the run says where it lies.
    done = project("tasks", "super_ni_")
    assert done.code == 0 and "Data.corpora to {'super_natural_instructions': FOLDER}" in done.out


def test_a_search_that_finds_nothing_gives_the_nearest_name(project):
    done = project("tasks", "shuot")
    assert done.code == 1 and "did you mean 'shout'" in done.out
