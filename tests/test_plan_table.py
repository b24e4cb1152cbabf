"""What a plan says of the proof of the loss masks; its other figures are tested against a real run, by the command."""

from flan_jax.plan_table import mask_line


def table(*rows):
    tasks = [
        {"task": name, "examples": examples, "mask": {"proved": proved, "trained": 0.5, "left_out": left_out}}
        for name, examples, proved, left_out in rows
    ]
    return {"tasks": tasks, "total": {"tokens": 1000, "trainable": 250}}


def test_what_was_left_out_is_named_by_task_and_reason():
    found = mask_line(table(("alpaca", 52_002, 52_002, {"wrong_cut": 9, "wrong_end": 3}), ("nli", 40, 40, {})))
    assert found == (
        "mask proved on 52,042 examples of 2 tasks, 25.0% of whose tokens are trained; "
        "left out: 12 (alpaca: 9 cut to nothing, 3 without an end)"
    )


def test_of_many_tasks_the_first_are_named():
    found = mask_line(table(*((f"t{number}", 5, 5, {"wrong_text": 2}) for number in range(7))))
    assert "left out: 14 (t0: 2 of another text; t1:" in found and found.endswith("; and 3 more tasks)")


def test_stores_of_an_earlier_version_are_not_called_proved():
    assert mask_line(table(("old", 5, 0, {}), ("new", 5, 5, {}))) == (
        "mask proved on 5 examples of 1 task, 25.0% of whose tokens are trained; "
        "not proved: old, whose stores an earlier version wrote"
    )
    kept = {"tasks": [{"task": "old", "examples": 5}], "total": {"tokens": 1, "trainable": 1}}  # as plan.json had it
    assert mask_line(kept) == "mask proved on no example; not proved: old, whose stores an earlier version wrote"
