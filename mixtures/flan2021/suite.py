"""Registers the tasks of FLAN 2021 and its mixtures.

    flan2021                          all tasks, capped at 3,000 examples each, inverted templates among the others
    flan2021_CLUSTER                  those of a cluster
    flan2021_without_CLUSTER          all but those of a cluster and of what the paper leaves out with it (`LEFT_OUT`)
    flan2021_CLUSTER_eval             a cluster as it is scored: forward templates, nothing capped
    flan2021_held_out_templates_eval  all tasks under the templates that are kept from training
    flan2021_few_shot                 all tasks, 0 to 16 exemplars before each prompt
    flan2021_zero_and_few_shot        with and without exemplars, with and without options, a quarter each, as Flan 2022
                                      mixes its own

A data set whose file cannot be imported takes with it the mixtures that need it, and no others.
"""

from flan_jax import mixtures
from flan_jax.mixtures.flan2021.declaring import EXEMPLARS
from flan_jax.tasks import InstructionTask, mixture

CAP = 3_000
CLUSTERS = {
    "nli": "anli cb mnli qnli rte snli wnli",
    "commonsense": "copa hellaswag piqa story_cloze",
    "sentiment": "imdb_reviews sentiment140 sst2 yelp_polarity_reviews",
    "paraphrase": "glue_mrpc glue_qqp paws_wiki stsb",
    "closed_book_qa": "arc natural_questions trivia_qa",
    "struct_to_text": "common_gen dart e2e_nlg web_nlg_en",
    "reading_comprehension": "bool_q drop multirc openbookqa squad",
    "reading_comprehension_with_commonsense": "cosmos_qa record",
    "coreference": "definite_pronoun_resolution winogrande wsc wsc273",
    "translation": (
        "para_crawl_enes wmt14_enfr wmt16_translate_csen wmt16_translate_deen wmt16_translate_fien "
        "wmt16_translate_roen wmt16_translate_ruen wmt16_translate_tren"
    ),
    "summarization": (
        "aeslc ag_news_subset cnn_dailymail gigaword multi_news newsroom opinion_abstracts_idebate "
        "opinion_abstracts_rotten_tomatoes samsum wiki_lingua_english_en xsum"
    ),
    "miscellaneous": "coqa cola fix_punct math_dataset quac trec true_case wic word_segment",
}
# Left out of training besides the cluster that is scored (its code's inter-cluster splits, flan/task_splits.py).
LEFT_OUT = {
    "nli": ("paraphrase",),
    "paraphrase": ("nli",),
    "reading_comprehension": ("reading_comprehension_with_commonsense",),
    "commonsense": ("reading_comprehension_with_commonsense",),
    "reading_comprehension_with_commonsense": ("reading_comprehension", "commonsense"),
}
_FEW_SHOT = f"{EXEMPLARS[0]}_to_{EXEMPLARS[1]}_shot"


def _tasks(cluster: str) -> tuple[InstructionTask, ...] | None:
    """A cluster's tasks, registered; None where one of its files cannot be imported."""
    modules = [mixtures.module_or_none(f"{__package__}.{cluster}.{name}") for name in CLUSTERS[cluster].split()]
    found = [task.register() for module in modules if module for task in module.TASKS]
    return tuple(found) if all(modules) else None


TASKS = {cluster: tasks for cluster in CLUSTERS if (tasks := _tasks(cluster)) is not None}


def _trained(clusters: tuple[str, ...]) -> list[InstructionTask]:
    return [task for cluster in clusters for task in TASKS[cluster] if "train" in task.source.splits]


def _zero_shot(task: InstructionTask) -> str:
    return f"{task.name}.with_inverted" if task.inverted_templates else task.name


for _cluster, _members in TASKS.items():
    if _trained((_cluster,)):
        mixture(f"flan2021_{_cluster}", map(_zero_shot, _trained((_cluster,))), cap=CAP)
    mixture(f"flan2021_{_cluster}_eval", (task.name for task in _members))
for _cluster in CLUSTERS:
    _rest = tuple(name for name in CLUSTERS if name != _cluster and name not in LEFT_OUT.get(_cluster, ()))
    if set(_rest) <= set(TASKS):
        mixture(f"flan2021_without_{_cluster}", map(_zero_shot, _trained(_rest)), cap=CAP)
if len(TASKS) == len(CLUSTERS):
    _all = _trained(tuple(CLUSTERS))
    _with_options = [task for task in _all if task.options is not None]
    _few_shot = {task.name: f"{task.name}.{_FEW_SHOT}" for task in _all}
    mixture("flan2021", map(_zero_shot, _all), cap=CAP)
    mixture("flan2021_few_shot", _few_shot.values(), cap=CAP)
    mixture(
        "flan2021_held_out_templates_eval",
        (f"{task.name}.held_out_templates" for tasks in TASKS.values() for task in tasks),
    )
    _quarters = {
        "zero_shot_options": [task.name for task in _with_options],
        "zero_shot_no_options": [f"{t.name}.no_options" if t.options is not None else _zero_shot(t) for t in _all],
        "few_shot_options": [_few_shot[task.name] for task in _with_options],
        "few_shot_no_options": [_few_shot[t.name] + ".no_options" * (t.options is not None) for t in _all],
    }
    for _name, _names in _quarters.items():
        mixture(f"flan2021_{_name}", _names, cap=CAP)
    mixture("flan2021_zero_and_few_shot", [(f"flan2021_{name}", 1.0) for name in _quarters])
