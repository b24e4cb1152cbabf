"""Two plans side by side, of figures that are written out; the command's own are tested with the command."""

from flan_jax.plan_comparison import compared, render_comparison


def plan(clusters=(), **tasks):
    """A plan of tasks, each with its share of examples, of trainable tokens, and its epochs."""
    figures = lambda values: dict(zip(("rate", "share", "epochs"), values, strict=True))
    return {
        **{"mixture": "m", "estimate": False, "steps": 1200, "batch_size": 8, "rows": 9600},
        "total": {"trainable": 5000},
        "tasks": [{"task": name, **figures(values)} for name, values in tasks.items()],
        "clusters": [{"cluster": name, **figures(values)} for name, values in clusters],
    }


def rows_of(text):
    """The cells of each line, by its first."""
    return {line.split()[0]: line.split()[1:] for line in text.splitlines() if line}


def test_what_both_have_stands_side_by_side_and_the_rest_is_named():
    alone = [(None, (1.0, 1.0, 1.0))]
    one = plan(alone, qa=(0.5, 0.25, 1.0), nli=(0.5, 0.75, 2.0))
    other = plan(alone, nli=(0.9, 0.8, 4.0), chat=(0.1, 0.2, 0.5))
    comparison = compared({"a.gin": one, "b.gin": other})
    assert comparison["tasks"][0] == {"task": "qa", "runs": [{"rate": 0.5, "share": 0.25, "epochs": 1.0}, None]}
    text = render_comparison(comparison)
    assert text.startswith("A: a.gin, 1,200 steps of 8 rows of 'm', 5,000 trainable tokens\nB: b.gin, ")
    found = rows_of(text)
    assert found["nli"] == ["50.0%", "90.0%", "75.0%", "80.0%", "2.00", "4.00"]
    assert found["qa"] == ["50.0%", "-", "25.0%", "-", "1.00", "-"]
    assert found["chat"] == ["-", "10.0%", "-", "20.0%", "-", "0.50"]
    assert "in A alone: qa\nin B alone: chat" in text and "cluster" not in text


def test_of_many_tasks_those_that_differ_most_are_shown_and_the_others_summed():
    one = plan(**{f"t{n}": (0.02, 0.02, 1.0) for n in range(50)})
    other = plan(**{f"t{n}": (0.02 + (n - 24.5) / 10_000, 0.02, 1.0) for n in range(50)})
    found = rows_of(render_comparison(compared({"a": one, "b": other}), most=4))
    assert {name for name in found if name.startswith("t") and name != "task"} == {"t0", "t49", "t1", "t48"}
    assert found["…"][:6] == ["46", "more", "tasks,", "less", "apart", "92.0%"]


def test_clusters_have_a_table_of_their_own_where_they_are_fewer_than_the_tasks():
    tasks = {"a": (0.4, 0.4, 1.0), "b": (0.4, 0.4, 1.0), "c": (0.2, 0.2, 1.0)}
    clusters = [("nli", (0.8, 0.8, 1.0)), (None, (0.2, 0.2, 1.0))]
    text = render_comparison(compared({"a": plan(clusters, **tasks), "b": plan(clusters[:1], **tasks)}))
    assert text.splitlines()[-2:][0].split() == ["nli", "80.0%", "80.0%", "80.0%", "80.0%", "1.00", "1.00"]
    assert text.splitlines()[-1].split() == ["of", "no", "cluster", "20.0%", "-", "20.0%", "-", "1.00", "-"]
