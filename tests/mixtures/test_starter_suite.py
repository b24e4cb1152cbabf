import itertools
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import seqio

from flan_jax.mixtures.starter import held_out, ordinals, suite
from flan_jax.mixtures.starter.lexicon import KINDS
from flan_jax.mixtures.starter.passages import ORDINALS
from flan_jax.tasks.examples import examples
from flan_jax.tasks.options import STYLES
from flan_jax.tasks.rates import rate_of
from flan_jax.tasks.templates import values_for
from flan_jax.tasks.vocabularies import tokenizer

BY_NAME = {task.name: task for task in suite.TASKS}
INPUTS, TARGETS = 64, 16


def rows(task, split="validation", most=200):
    return [row for _, row in itertools.islice(task.source.rows(split), most)]


def options_of(task, row):
    return list(row[task.options] if isinstance(task.options, str) else task.options or ())


def render(task, template, row, style=STYLES["dashes"]):
    options = options_of(task, row)
    row = task.preprocess(row) if task.preprocess else row
    values = values_for(template.fields, {**row, "answer": row[task.answer]}, template.inputs)
    return template.render({**values, "options": style.block(options) if options else ""})


def own_words(template):
    """The words of an instruction itself, without what comes from the row."""
    return set(re.findall(r"[A-Za-z]+", re.sub(r"\{\w+\}", " ", template.inputs)))


def skeleton(template):
    return re.sub(r"[^a-z{} _]", "", template.inputs.lower()).split()


def test_counts():
    assert len(suite.TRAINED) >= 16 and len(suite.HELD_OUT) >= 2
    assert len(suite.CLUSTERS) >= 6
    assert sum(bool(task.inverted_templates) for task in suite.TRAINED) >= 4
    assert sum(any("{options}" in one.inputs for one in task.templates) for task in suite.TRAINED) >= 4
    for task in suite.TASKS:
        seen, unseen = len(task.templates), len(task.held_out_templates)
        assert seen + unseen >= 12 and 4 * unseen >= seen + unseen, task.name
        assert len({template.inputs for template in (*task.templates, *task.held_out_templates)}) == seen + unseen


def test_clusters_are_those_declared():
    for cluster, members in suite.CLUSTERS.items():
        assert members and {task.cluster for task in members} == {cluster}


@pytest.mark.parametrize("task", suite.TASKS, ids=lambda task: task.name)
def test_held_out_templates_are_others_in_words_that_are_trained(task):
    trained_words = set().union(*(own_words(template) for template in task.templates))
    trained = [skeleton(template) for template in task.templates]
    for template in task.held_out_templates:
        assert skeleton(template) not in trained
        assert own_words(template) <= trained_words


def test_held_out_cells_leave_every_ordinal_and_kind_in_trained_cells():
    cells = [cell for cell in ordinals.GRID if "_".join(cell) not in held_out.TASKS]
    lost = [cell for cell in ordinals.GRID if "_".join(cell) in held_out.TASKS]
    assert len(lost) == len(held_out.TASKS) == 3
    assert len({ordinal for ordinal, _ in lost}) == len({kind for _, kind in lost}) == 3
    assert all(sum(ordinal == one for ordinal, _ in cells) >= 3 for one in ORDINALS)
    assert all(sum(kind == one for _, kind in cells) >= 2 for one in KINDS)


def test_training_never_names_what_is_held_out():
    members = {task.name for task in seqio.get_mixture_or_task("starter").tasks}
    assert {task.name for task in suite.TRAINED} <= members
    for name in members:
        assert name.removesuffix(".inverted") in {task.name for task in suite.TRAINED}
    instructions = {
        template.inputs for task in suite.TRAINED for template in (*task.templates, *task.inverted_templates)
    }
    for task in suite.TASKS:
        assert not instructions & {template.inputs for template in task.held_out_templates}
    for task in suite.HELD_OUT:
        assert not instructions & {template.inputs for template in task.templates}


def test_evaluation_holds_both_templates_the_held_out_tasks_and_controls():
    members = {task.name for task in seqio.get_mixture_or_task("starter_eval").tasks}
    for task in suite.TASKS:
        assert {task.name, f"{task.name}.held_out_templates"} <= members
    assert {"first_person", "all_animals", "list_first"} <= {name.partition(".as_")[0] for name in suite.CONTROLS}
    for task in suite.HELD_OUT:
        assert len(task.siblings) >= 3
        assert {f"{task.name}.as_{sibling}" for sibling in task.siblings} <= members


def test_siblings_are_trained_and_read_the_same_rows():
    trained = {task.name for task in suite.TRAINED}
    for task in suite.TASKS:
        for sibling in task.siblings:
            assert sibling in trained and sibling != task.name
            assert rows(task, most=5) == rows(BY_NAME[sibling], most=5)


def test_the_instruction_has_to_be_read():
    for source in {id(task.source.function): task.source for task in suite.TASKS}.values():
        alike = [task for task in suite.TASKS if task.source == source]
        assert len(alike) >= 2  # no task is alone with its rows
        for _, row in source.rows("validation"):
            assert len({row[task.answer] for task in alike}) == len(alike), row


def test_every_cell_of_the_grid_has_an_answer_of_its_own_and_they_are_its_options():
    names = {f"{ordinal}_{kind}" for ordinal, kind in ordinals.GRID}
    for row in rows(ordinals.ALL[0]):
        answers = [row[name] for name in sorted(names)]
        assert len(set(answers)) == len(answers) == 15
        assert set(row["entities"]) == set(answers)
        assert all(re.search(rf"\b{answer}\b", row["passage"]) for answer in answers)
        for kind in KINDS:
            places = [row["passage"].split(". ")[place] for place in range(3)]
            assert all(
                re.search(rf"\b{row[f'{one}_{kind}']}\b", text) for one, text in zip(ORDINALS, places, strict=True)
            )


@pytest.mark.parametrize("task", suite.TASKS, ids=lambda task: task.name)
def test_answers_stand_among_the_options_and_chance_is_not_below_theirs(task):
    for row in rows(task):
        options = options_of(task, row)
        if options:
            assert options.count(row[task.answer]) == 1
            assert task.chance >= 1 / len(options)
        else:
            assert task.chance == 0.0


@pytest.mark.parametrize("task", suite.TASKS, ids=lambda task: task.name)
def test_prompts_and_targets_fit(task):
    encode = tokenizer("starter").encode
    templates = (*task.templates, *task.held_out_templates, *task.inverted_templates)
    texts = [
        render(task, template, row, style)
        for style in STYLES.values()
        for template, row in zip(itertools.cycle(templates), rows(task, "train", 20 * len(templates)), strict=False)
    ]
    inputs, targets = zip(*texts, strict=True)
    assert max(map(len, encode(list(inputs)))) < INPUTS  # below, since the end of the sequence counts
    assert max(map(len, encode(list(targets)))) < TARGETS


@pytest.mark.parametrize("name", ["starter", "starter_eval"])
def test_every_member_gives_whole_examples(name):
    for member in seqio.get_mixture_or_task(name).tasks:
        lengths = {"inputs": INPUTS, "targets": TARGETS}
        for split in member.splits:
            found = list(examples(member.name, split, lengths, on_long="refuse", limit=10))
            assert len(found) == 10
            assert all(len(one.inputs) and len(one.targets) > 1 and not one.cut_tokens for one in found)


def test_a_control_asks_the_siblings_question_of_the_same_row():
    lengths = {"inputs": INPUTS, "targets": TARGETS}
    own = list(examples("second_animal", "validation", lengths, limit=50))
    control = list(examples("second_animal.as_first_animal", "validation", lengths, limit=50))
    for plain, other in zip(own, control, strict=True):
        assert "second" in plain.inputs_text and "second" not in other.inputs_text
        assert plain.targets_text == other.targets_text and plain.id == other.id
        assert plain.answer is not None and len(plain.options) == 15


def test_rates_are_proportional_with_caps_and_inverted_tasks_are_rare():
    counts = {task.name: 4_000 for task in seqio.get_mixture_or_task("starter").tasks}
    rates = rate_of("starter", counts)
    assert rates["first_person"] == suite.CAP and rates["list_first"] == 1_000
    assert sum(rate for name, rate in rates.items() if name.endswith(".inverted")) < 0.15 * sum(rates.values())


def test_a_known_row_reads_as_documented():
    row = {"words": "lamp, goat, bus, bread, chair", "list": [], "last": "chair"}
    task = BY_NAME["list_last"]
    template = next(one for one in task.templates if one.inputs.startswith("Pick the"))
    assert render(SimpleNamespace(options=None, answer="last", preprocess=None), template, row) == (
        "Pick the last word: lamp, goat, bus, bread, chair",
        "chair",
    )


def test_importing_makes_no_row_and_opens_no_file_of_data():
    code = (
        "from flan_jax.mixtures.starter import draws\n"
        "def refuse(*_): raise AssertionError('a row was made')\n"
        "draws.Draws.__init__ = refuse\n"
        "import flan_jax.mixtures.starter.suite as suite\n"
        "from flan_jax.tasks import vocabularies\n"
        "assert vocabularies._shared_tokenizer.cache_info().currsize == 0\n"
        "print(len(suite.TASKS))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(suite.TASKS)


def test_importing_the_package_alone_registers_nothing_and_brings_no_seqio():
    code = "import sys, flan_jax.mixtures.starter; print('seqio' in sys.modules, 'tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
