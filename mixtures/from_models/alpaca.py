"""Alpaca (Taori et al., 2023) and what descends from it: an instruction, an input where it needs one, and an answer.

Which of these is a river?

Elbe, Harz, Rügen
→ The Elbe is a river.

    alpaca          52,002 rows of text-davinci-003 (CC BY-NC 4.0)
    alpaca_gpt4     the same prompts, answered by GPT-4; alpaca_gpt4_zh in Chinese (CC BY-NC 4.0)
    code_alpaca     20,022 rows about programs
    evol_instruct   WizardLM's 70,000, which a model made harder step by step; most have no input

    Data.corpora = {"alpaca": "alpaca_data.json"}
"""

from flan_jax.tasks import Corpus, Hub, alpaca

_SPLITS = {"train": "train[50:]", "validation": "train[:50]"}
_FROM = {
    "alpaca": ("tatsu-lab/alpaca", "alpaca_data.json of github.com/tatsu-lab/stanford_alpaca, CC BY-NC 4.0"),
    "alpaca_gpt4": (
        "vicgalle/alpaca-gpt4",
        "data/alpaca_gpt4_data.json of github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM, CC BY-NC 4.0",
    ),
    "alpaca_gpt4_zh": (
        None,
        "data/alpaca_gpt4_data_zh.json of github.com/Instruction-Tuning-with-GPT-4/GPT-4-LLM, CC BY-NC 4.0",
    ),
    "code_alpaca": ("sahil2801/CodeAlpaca-20k", "data/code_alpaca_20k.json of github.com/sahil280114/codealpaca"),
    "evol_instruct": ("WizardLMTeam/WizardLM_evol_instruct_70k", "the data set of that name on the hub; see its terms"),
}
_SAMPLE = {"instruction": "Which of these is a river?", "input": "Elbe, Harz, Rügen", "output": "The Elbe is a river."}

TASKS = tuple(
    alpaca(
        Corpus(name, hub=None if hub is None else Hub(hub), splits=_SPLITS, get=get, sample=_SAMPLE), name
    ).register()
    for name, (hub, get) in _FROM.items()
)
