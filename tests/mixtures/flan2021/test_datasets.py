"""Each dataset's file, without a network: its templates on its own row and on rows of TFDS's own specification."""

import dataclasses

import pytest
import tensorflow_datasets

from flan_jax.mixtures.flan2021.declaring import TRAIN
from flan_jax.tasks import template_check
from flan_jax.tasks.recipe import Request
from flan_jax.tasks.rendering import Renderer
from flan_jax.tasks.sources import plain
from flan_jax.tasks.sources.corpus import placed
from flan_jax.tasks.variants import Variant
from tests.mixtures.flan2021.goldens import DATASETS, FOLDER, TASKS, each_template, golden, rendered, tasks_of
from tests.mixtures.flan2021.mocked import made_rows, mocked_tfds


@pytest.fixture(scope="module", autouse=True)
def mocked():
    """TFDS gives made-up rows."""
    with mocked_tfds():
        yield


@pytest.mark.parametrize(("cluster", "name"), DATASETS)
def test_its_prompts_read_as_they_were_read(cluster, name):
    """A person has read the file; `python -m tests.mixtures.flan2021.goldens` writes it anew."""
    assert (FOLDER / f"{name}.txt").read_text(encoding="utf-8") == "\n\n".join(map(golden, tasks_of(cluster, name)))


@pytest.mark.parametrize("name", TASKS)
def test_its_templates_are_as_many_as_the_paper_has_and_none_is_at_fault(name):
    task = TASKS[name]
    assert template_check.faults(task) == []
    assert len(task.templates) + len(task.inverted_templates) >= 10 and len(task.inverted_templates) <= 3
    assert len(task.held_out_templates) == 2


@pytest.mark.parametrize("name", TASKS)
def test_its_splits_are_the_papers_and_do_not_overlap(name):
    task = TASKS[name]
    counts = {split: task.source.count(split) for split in task.source.splits}
    if name == "wsc273":  # for evaluation alone
        assert set(counts) == {"validation", "test"}
        return
    assert set(counts) == {"train", "validation", "test"}
    assert counts["train"] <= TRAIN and counts["validation"] <= 200 and counts["test"] > 0
    rows = {split: placed(place, task.source.rows) for split, place in task.source.splits.items()}
    for one in rows:
        for other in rows:
            if one < other and rows[one][0] == rows[other][0]:
                assert rows[one][2] <= rows[other][1] or rows[other][2] <= rows[one][1], (one, other)


@pytest.mark.parametrize("name", TASKS)
def test_every_template_fits_the_rows_of_tfds(name):
    """Random words under the real names and types; labels stay within their classes, so some rows are usable."""
    task = TASKS[name]
    split = "train" if "train" in task.source.splits else "test"
    rows = made_rows(task, split)
    assert len(rows) == 24 and set(task.source.sample) <= set(rows[0][1]), "the sample has a field that TFDS has not"
    request = Request({}, on_bad_row="skip")
    usable = [row for row in rows if list(Renderer(Variant(task, task.name), split, request).drafts([row]))]
    assert usable, rows[0]
    for what, template in each_template(task):
        assert any(list(rendered(task, template, row)) for _, row in usable[:4]), what


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.source.hub and task.source.hub.row])
def test_a_row_of_the_hub_reads_as_the_same_row_of_tfds(name):
    task = TASKS[name]
    row = plain(task.source.hub.row(dict(task.source.hub.sample)))
    for what, template in each_template(task):
        assert list(rendered(task, template, row)) == list(rendered(task, template, dict(task.source.sample))), what


@pytest.mark.parametrize("name", TASKS)
def test_its_labels_are_in_the_order_of_tfds(name):
    """Only their number can be compared: how the classes are called is ours."""
    task = TASKS[name]
    if not isinstance(task.options, tuple) or task.answer not in task.source.sample:
        return
    feature = tensorflow_datasets.builder(task.source.tfds).info.features[task.answer]
    if hasattr(feature, "num_classes"):
        assert feature.num_classes == len(task.options)


def test_names_are_unique_lower_case_and_their_clusters_folders():
    found = [task for dataset in DATASETS for task in tasks_of(*dataset)]
    assert len({task.name for task in found}) == len(found) == 70  # 69 to train on, and WSC273
    assert all(task.name == task.name.lower() for task in found)
    assert all(task.cluster == cluster for cluster, name in DATASETS for task in tasks_of(cluster, name))
    assert all(dataclasses.is_dataclass(task.source) and task.source.name == task.name for task in found)
