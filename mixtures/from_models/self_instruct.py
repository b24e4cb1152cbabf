"""Self-Instruct (Wang et al., 2022): instructions and instances that GPT-3 wrote from 175 seed tasks.

Task: Name the month.
Input: 2024-02-11
Output:
→ February

    self_instruct                the generated instances (82,439), in one of the authors' layouts, drawn in each pass
    self_instruct_pairs          the same as their fine-tuning pairs, laid out once and for all
    self_instruct_seeds          the seed tasks
    self_instruct_user_oriented  252 tasks that people wrote for evaluation; never to be trained on

    Data.corpora = {"self_instruct": "all_instances_82K.jsonl"}
"""

from flan_jax.tasks import Corpus, Hub, pairs, self_instruct

_GET = "{} of github.com/yizhongw/self-instruct, Apache-2.0"
_SPLITS = {"train": "train[50:]", "validation": "train[:50]"}
_SEED = {"instruction": "Name the month.", "instances": [{"input": "2024-02-11", "output": "February"}]}

TASKS = (
    self_instruct(
        Corpus(
            "self_instruct",
            splits=_SPLITS,
            get=_GET.format("all_instances_82K.jsonl in data/gpt3_generations/batch_221203"),
            sample={"instruction": "Name the month.", "input": "2024-02-11", "output": "February"},
        ),
        "self_instruct",
    ).register(),
    pairs(
        Corpus(
            "self_instruct_pairs",
            hub=Hub("yizhongw/self_instruct", "self_instruct"),
            splits=_SPLITS,
            get=_GET.format("gpt3_finetuning_data.jsonl in data/gpt3_generations/batch_221203/finetuning"),
            sample={"prompt": "Name the month.\n2024-02-11\n\n", "completion": "February<|endoftext|>"},
        ),
        "self_instruct_pairs",
    ).register(),
    self_instruct(
        Corpus("self_instruct_seeds", get=_GET.format("data/seed_tasks.jsonl"), sample=_SEED), "self_instruct_seeds"
    ).register(),
    self_instruct(
        Corpus(
            "self_instruct_user_oriented",
            splits={"validation": "validation"},
            get=_GET.format("human_eval/user_oriented_instructions.jsonl"),
            sample=_SEED,
        ),
        "self_instruct_user_oriented",
        layouts="plain",
        metrics=("rouge",),
    ).register(),
)
