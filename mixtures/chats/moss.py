"""MOSS (Fudan University, 2023): Chinese and English conversations that models wrote, some with calls of tools.

System: You are an AI assistant whose name is MOSS.
User: What is 17 * 3?
Assistant:
→ Calculate("17*3")
  Tool: Calculate("17*3") =>
  51
  Assistant: It is 51.

    moss             1.07 million conversations without tools
    moss_with_tools  some 300,000 with a search engine, a calculator, a solver of equations or a painter

    Data.corpora = {"moss": "moss-003-sft-no-tools.jsonl"}
"""

from flan_jax.tasks import Corpus, moss

_GET = (
    "SFT_data of github.com/OpenMOSS/MOSS, or fnlp/moss-003-sft-data on the hub; unpack it; CC BY-NC 4.0, or CC BY 4.0"
)
_NO_CALL = {
    "Human": "<|Human|>: What is 17 * 3?<eoh>\n",
    "Inner Thoughts": "<|Inner Thoughts|>: None<eot>\n",
    "Commands": "<|Commands|>: None<eoc>\n",
    "Tool Responses": "<|Results|>: None<eor>\n",
    "MOSS": "<|MOSS|>: It is 51.<eom>\n",
}
_CALL = {
    **_NO_CALL,
    "Inner Thoughts": "<|Inner Thoughts|>: A calculator knows.<eot>\n",
    "Commands": '<|Commands|>: Calculate("17*3")<eoc>\n',
    "Tool Responses": '<|Results|>:\nCalculate("17*3") =>\n51\n<eor>\n',
}

TASKS = tuple(
    moss(
        Corpus(
            name,
            splits={"train": "train[200:]", "validation": "train[:200]"},
            get=_GET,
            sample={"meta_instruction": "You are an AI assistant whose name is MOSS.\n", "chat": {"turn_1": turn}},
        ),
        name,
    ).register()
    for name, turn in (("moss", _NO_CALL), ("moss_with_tools", _CALL))
)
