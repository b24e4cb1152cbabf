import collections
import itertools
import subprocess
import sys

from flan_jax.tasks.drawing import RandomChoices, sample


def test_a_draw_depends_on_seed_task_example_draw_and_purpose():
    base = [RandomChoices(0, "a", 0).pick(f"train:{n}", "template", 1000) for n in range(50)]
    assert base == [RandomChoices(0, "a", 0).pick(f"train:{n}", "template", 1000) for n in range(50)]
    others = [
        [RandomChoices(1, "a", 0).pick(f"train:{n}", "template", 1000) for n in range(50)],
        [RandomChoices(0, "b", 0).pick(f"train:{n}", "template", 1000) for n in range(50)],
        [RandomChoices(0, "a", 1).pick(f"train:{n}", "template", 1000) for n in range(50)],
        [RandomChoices(0, "a", 0).pick(f"train:{n}", "style", 1000) for n in range(50)],
    ]
    for other in others:
        assert sum(one == two for one, two in zip(base, other, strict=True)) < 5


def test_draws_are_even():
    counts = collections.Counter(RandomChoices(3, "task", 0).pick(f"x:{n}", "template", 5) for n in range(5000))
    assert set(counts) == set(range(5))
    assert max(counts.values()) < 1.15 * min(counts.values())


def test_another_process_draws_the_same():
    code = (
        "from flan_jax.tasks.drawing import RandomChoices as Choices; "
        "print([Choices(7, 't', 2).pick(str(n), 'p', 97) for n in range(9)])"
    )
    # Python's own hash of text is another there.
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True)
    assert done.stdout.strip() == str([RandomChoices(7, "t", 2).pick(str(n), "p", 97) for n in range(9)])


def test_sample_draws_different_indices_of_the_whole_range():
    stream = RandomChoices(0, "t", 0).stream("e", "spans")
    seen = collections.Counter()
    for _ in range(300):
        chosen = sample(stream, 6, 3)
        assert len(set(chosen)) == 3 and chosen == sorted(chosen)
        seen.update(chosen)
    assert set(seen) == set(range(6)) and min(seen.values()) > 100
    assert sample(itertools.repeat(0), 4, 0) == []
