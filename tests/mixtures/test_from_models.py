"""The ready mixtures of instruction data that models or people wrote: each reads its sample, and a file of the run."""

import pytest

from flan_jax.mixtures import dolly
from flan_jax.mixtures.from_models import alpaca, open_orca, self_instruct, unnatural_instructions
from flan_jax.tasks.examples import examples
from flan_jax.tasks.registry import declared
from flan_jax.tasks.sources import as_source, corpus
from flan_jax.tasks.sources.source import Unavailable
from flan_jax.tasks.template_check import faults

TASKS = {
    task.name: task
    for module in (unnatural_instructions, self_instruct, alpaca, open_orca, dolly)
    for task in module.TASKS
}
LENGTHS = {"inputs": None, "targets": None}


@pytest.fixture(autouse=True)
def own_run():
    """Each test says itself where corpora are read from."""
    yield
    corpus.use(corpus.RunCorpora())


@pytest.mark.parametrize("name", TASKS)
def test_the_sample_of_each_is_worded_and_its_files_are_told(name):
    task = TASKS[name]
    assert declared(name) is task
    split = task.source.splits and next(iter(task.source.splits))
    made = list(examples(name, split, LENGTHS, from_sample=True))
    assert made and all(one.inputs_text and one.targets_text for one in made)
    assert not hasattr(task, "templates") or not faults(task)
    corpus.use(corpus.RunCorpora("hugging_face" if task.source.hub is None else "tfds"))
    if task.source.tfds is None:
        with pytest.raises(Unavailable, match=r"a pattern of files \(.*(github\.com|on the hub)"):
            next(as_source(task.source).rows(split))


@pytest.mark.parametrize(
    ("name", "file", "rows"),
    [
        ("unnatural_instructions", "unnatural_instructions/full_data_sample.jsonl", 10),
        ("self_instruct", "self_instruct/all_generated_instances.jsonl", 162),
        ("self_instruct_pairs", "self_instruct/gpt3_finetuning_data.jsonl", 335),
        ("self_instruct_seeds", "self_instruct/seed_tasks.jsonl", 175),
        ("self_instruct_user_oriented", "self_instruct/user_oriented_instructions.jsonl", 139),
        ("alpaca_gpt4_zh", "alpaca/alpaca_gpt4_zh_sample.json", 715),
    ],
)
def test_the_run_names_the_file(real_data, name, file, rows):
    corpus.use(corpus.RunCorpora({name: str(real_data / file)}))
    source = as_source(TASKS[name].source)
    counts = {split: sum(1 for _ in source.rows(split)) for split in source.splits}
    held_out = {"validation": min(50, rows)} if "train" in counts and len(counts) > 1 else {}
    assert counts == (
        {"train": rows - sum(held_out.values()), **held_out} if "train" in counts else {"validation": rows}
    )
    split = next(iter(counts))
    assert len(list(examples(name, split, LENGTHS, limit=3))) == min(3, counts[split])
