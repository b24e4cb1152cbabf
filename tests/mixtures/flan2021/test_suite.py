"""The mixtures of FLAN 2021: which tasks they hold, at which rates, and what registering them costs."""

import subprocess
import sys

import pytest
import seqio

from flan_jax.mixtures.flan2021 import suite
from flan_jax.tasks import rate_of
from flan_jax.tasks.registry import declared

ALL = {task.name for tasks in suite.TASKS.values() for task in tasks}
EVAL_ONLY = {"wsc273"}


def bases(mixture):
    """The declarations whose tasks a mixture holds."""
    return {task.name.partition(".")[0] for task in seqio.MixtureRegistry.get(mixture).tasks}


def of_cluster(*clusters):
    return {task.name for cluster in clusters for task in suite.TASKS[cluster]}


def test_flan2021_holds_every_task_with_its_inverted_templates_and_caps_each_at_3000():
    tasks = {task.name for task in seqio.MixtureRegistry.get("flan2021").tasks}
    assert len(tasks) == 69 and bases("flan2021") == ALL - EVAL_ONLY
    for name in tasks:
        assert name.endswith(".with_inverted") == bool(declared(name).inverted_templates), name
    rates = rate_of("flan2021", {name: 250 if name.startswith("cb") else 30_000 for name in tasks})
    assert rates["cb.with_inverted"] == 250 and {rate for name, rate in rates.items() if name[:3] != "cb."} == {3_000}


# The rules of the paper's zero-shot splits, one a line.
RULES = {
    "nli": {"nli", "paraphrase"},
    "paraphrase": {"paraphrase", "nli"},
    "reading_comprehension": {"reading_comprehension", "reading_comprehension_with_commonsense"},
    "commonsense": {"commonsense", "reading_comprehension_with_commonsense"},
    "reading_comprehension_with_commonsense": {
        "reading_comprehension_with_commonsense",
        "reading_comprehension",
        "commonsense",
    },
    **{name: {name} for name in ("sentiment", "closed_book_qa", "struct_to_text", "coreference")},
    **{name: {name} for name in ("translation", "summarization", "miscellaneous")},
}


@pytest.mark.parametrize("cluster", suite.CLUSTERS)
def test_a_cluster_is_left_out_with_what_the_paper_leaves_out_with_it(cluster):
    assert bases(f"flan2021_without_{cluster}") == ALL - of_cluster(*RULES[cluster]) - EVAL_ONLY
    assert bases(f"flan2021_{cluster}") == of_cluster(cluster) - EVAL_ONLY
    scored = {task.name for task in seqio.MixtureRegistry.get(f"flan2021_{cluster}_eval").tasks}
    assert scored == of_cluster(cluster)
    assert not scored & bases(f"flan2021_without_{cluster}")


def test_evals_are_not_capped():
    rates = rate_of("flan2021_sentiment_eval", {name: 9_000 for name in of_cluster("sentiment")})
    assert set(rates.values()) == {9_000}


def test_held_out_templates_are_scored_of_every_task():
    names = {task.name for task in seqio.MixtureRegistry.get("flan2021_held_out_templates_eval").tasks}
    assert names == {f"{name}.held_out_templates" for name in ALL}


def test_few_shot_prompts_have_up_to_16_exemplars():
    names = {task.name for task in seqio.MixtureRegistry.get("flan2021_few_shot").tasks}
    assert names == {f"{name}.0_to_16_shot" for name in ALL - EVAL_ONLY}


def test_the_four_kinds_of_prompt_have_a_quarter_each():
    names = [task.name for task in seqio.MixtureRegistry.get("flan2021_zero_and_few_shot").tasks]
    rates = rate_of("flan2021_zero_and_few_shot", dict.fromkeys(names, 5_000))
    shares = dict.fromkeys(("options", "no options", "shots, options", "shots, no options"), 0.0)
    for name, rate in rates.items():
        shows = declared(name).options is not None and not name.endswith("no_options")
        shares[("shots, " if "_shot" in name else "") + ("options" if shows else "no options")] += rate / sum(
            rates.values()
        )
    assert all(share == pytest.approx(0.25) for share in shares.values()), shares


COST = """
import sys, time
import seqio, tensorflow_datasets, tensorflow_text, sentencepiece
from flan_jax.tasks import *
from flan_jax.tasks import instruction, rates
import flan_jax.tasks.sources.corpus
done = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        done.append(event)
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].endswith((".py", ".pyc")):
        if "__pycache__" not in arguments[0]:
            done.append(arguments[0])
sys.addaudithook(watch)
calls = 0
def count(frame, event, argument):
    global calls
    calls += event == "call"
began = time.process_time()
if len(sys.argv) > 1:
    sys.setprofile(count)
import flan_jax.mixtures.flan2021.suite as suite
sys.setprofile(None)
print(calls, time.process_time() - began, len(seqio.TaskRegistry.names()), done)
"""


def test_registering_all_of_it_reads_nothing_and_costs_few_calls():
    """Counted, since times vary; 0.5 s of process time is what a user may be asked to wait for at most."""
    done = subprocess.run(
        [sys.executable, "-c", COST, "count"], capture_output=True, text=True, check=True, timeout=120
    )
    calls, _, tasks, opened = done.stdout.strip().split(" ", 3)
    assert opened == "[]"
    assert int(tasks) > 400 and int(calls) < 250 * int(tasks)
