"""What a plan says of loss masks and of clusters; its other figures are tested against a real run, by the command."""

from flan_jax.plan_table import by_cluster
from flan_jax.plan_text import mask_line, render_plan


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


def whole(*tasks):
    """A plan of tasks, each with its cluster, its share of the examples, and of the trainable tokens of 1,000."""
    sums = {"examples": 50, "seen": 100, "tokens": 2000, "truncated": 1, "dropped": 0}
    rows = [
        {"task": name, "cluster": cluster, "cap": None, "epochs": 2.0, "rate": rate, "share": share, **sums}
        | {"trainable": round(1000 * share), "mask": {"proved": 50, "left_out": {}}}
        for name, cluster, rate, share in tasks
    ]
    keys = ("examples", "rate", "seen", "tokens", "trainable", "share", "truncated", "dropped")
    return {
        **{"mixture": "m", "estimate": False, "steps": 5, "batch_size": 8, "row": {"row": 64}, "full": {"row": 0.9}},
        **{
            "vocabulary": {"name": "v", "size": 100},
            "forms": {"plain": 1},
            "tasks": rows,
            "clusters": by_cluster(rows),
        },
        "model": {"parameters": 10, "trained": 10, "state_bytes": 120},
        "total": {key: sum(row[key] for row in rows) for key in keys},
    }


def test_clusters_are_summed_where_they_are_fewer_than_the_tasks():
    tasks = ("rte", "nli", 0.25, 0.1), ("snli", "nli", 0.25, 0.2), ("joke", None, 0.5, 0.7)
    plan = whole(*tasks)
    assert [row["cluster"] for row in plan["clusters"]] == ["nli", None]
    nli = plan["clusters"][0]
    assert (nli["tasks"], nli["examples"], nli["seen"], nli["epochs"]) == (2, 100, 200, 2.0)
    lines = [line.split() for line in render_plan(plan).splitlines()]
    assert ["nli", "2", "100", "50.0%", "200", "2.00", "4,000", "300", "30.0%"] in lines
    assert ["of", "no", "cluster", "1", "50", "50.0%", "100", "2.00", "2,000", "700", "70.0%"] in lines
    assert ["snli", "50", "-", "25.0%", "100", "2.00", "2,000", "200", "20.0%", "1", "0"] in lines
    for few in (tasks[1:], [(name, "nli", rate, share) for name, _, rate, share in tasks]):
        assert "cluster  " not in render_plan(whole(*few))


def test_of_many_clusters_the_largest_are_shown():
    plan = whole(*((f"t{n}.{half}", f"c{n}", n / 20, n / 20) for n in range(1, 5) for half in "ab"))
    lines = [line.split() for line in render_plan(plan, most=2).splitlines()]
    assert [line[0] for line in lines if line and line[0].startswith("c") and line[0] != "cluster"] == ["c4", "c3"]
    assert ["…", "2", "more", "clusters", "4", "200", "30.0%", "400", "-", "8,000", "300", "30.0%"] in lines
