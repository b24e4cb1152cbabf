"""Conversations that users shared of what models told them, and such with calls of tools.

System: Answer in one sentence.
User: What is a fjord?
Assistant:
→ A long inlet of the sea between steep slopes.
  User: And where are many of them?
  Assistant: In Norway.

    sharegpt          what users of ChatGPT shared, such as Vicuna was trained on; its terms are not told
    glaive_toolcall   made-up conversations with calls (Glaive, 2023), in ShareGPT's form; Apache-2.0

    Data.corpora = {"sharegpt": "ShareGPT_V3_unfiltered_cleaned_split.json"}
"""

from flan_jax.tasks import Corpus, Hub, messages

_SPLITS = {"train": "train[200:]", "validation": "train[:200]"}
_TALK = [
    {"from": "system", "value": "Answer in one sentence."},
    {"from": "human", "value": "What is a fjord?"},
    {"from": "gpt", "value": "A long inlet of the sea between steep slopes."},
    {"from": "human", "value": "And where are many of them?"},
    {"from": "gpt", "value": "In Norway."},
]
_CALL = [
    {"from": "human", "value": "What is 17 % of 300?"},
    {"from": "function_call", "value": '{"name": "percentage", "arguments": {"share": 17, "of": 300}}'},
    {"from": "observation", "value": '{"result": 51}'},
    {"from": "gpt", "value": "It is 51."},
]
_TOOLS = '[{"name": "percentage", "parameters": {"type": "object", "properties": {"share": {"type": "number"}}}}]'

TASKS = (
    messages(
        Corpus(
            "sharegpt",
            splits=_SPLITS,
            get="ShareGPT_V3_unfiltered_cleaned_split.json of anon8231489123/ShareGPT_Vicuna_unfiltered on the hub",
            sample={"id": "sample_0", "conversations": _TALK},
        ),
        "sharegpt",
        field="conversations",
    ).register(),
    messages(
        Corpus(
            "glaive_toolcall",
            hub=Hub("hiyouga/glaive-function-calling-v2-sharegpt"),
            splits=_SPLITS,
            get="glaive_toolcall.json of hiyouga/glaive-function-calling-v2-sharegpt on the hub, Apache-2.0",
            sample={"conversations": _CALL, "tools": _TOOLS},
        ),
        "glaive_toolcall",
        field="conversations",
    ).register(),
)
