"""Chat templates of every kind that models come with, conversations, and what transformers makes of them.

`testdata/chats.json` is written by `python -m tests.parity.test_chats`, in the environment of tests/parity.
"""

import json
import pathlib
from typing import Any

from tests.tokenizer_folders import CHATML

GOLDEN = pathlib.Path(__file__).parent / "testdata" / "chats.json"
_TURN = "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
_ASKED = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
TEMPLATES: dict[str, tuple[str, str, str]] = {
    # name: (tokenizer, eos_token, template)
    "a system prompt by default": ("byte_level", "<|im_end|>", CHATML),
    "an end that is not EOS": ("byte_level", "<|endoftext|>", CHATML),
    "marks": (
        "byte_level",
        "<|im_end|>",
        """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' }}
        {%- generation %}
        {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    {%- else %}
        """
        + _TURN.replace("{{", "{{-")
        + """
    {%- endif %}
{%- endfor %}
"""
        + _ASKED,
    ),
    "thoughts in the last answer": (
        "byte_level",
        "<|im_end|>",
        "{% for message in messages %}{% if loop.last and message.role == 'assistant' %}"
        "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + message.content + '<|im_end|>\n' }}"
        "{% else %}" + _TURN + "{% endif %}{% endfor %}" + _ASKED,
    ),
    "a token before every text": (
        "with_bos",
        "</s>",
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}"
        "{% else %}{{ '[' + m.role + '] ' + m.content | trim + ' [/' + m.role + ']' }}{% endif %}{% endfor %}",
    ),
    "answers that begin within a token": (
        "with_bos",
        "</s>",
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ 'ASSISTANT: ' + m.content + eos_token }}"
        "{% else %}{{ m.role | upper + ': ' + m.content + ' ' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'ASSISTANT: ' }}{% endif %}",
    ),
}
TALKS = [
    [{"role": "user", "content": "Is plum a fruit?"}, {"role": "assistant", "content": "It is."}],
    [
        {"role": "system", "content": "Be {{ kind }}."},
        {"role": "user", "content": "naïve  café\n\n42?"},
        {"role": "assistant", "content": "No <|im_end|>!"},
        {"role": "user", "content": "你好 <s>"},
        {"role": "assistant", "content": "The capital\nof Norway"},
    ],
]


def write_folder(folder: pathlib.Path, name: str) -> pathlib.Path:
    """A folder with the golden file's tokenizer and one of the templates."""
    kind, eos_token, template = TEMPLATES[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(golden()["tokenizers"][kind]))
    tokens = {"eos_token": eos_token} | ({"bos_token": "<s>"} if kind == "with_bos" else {})
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", **tokens}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    return folder


def golden() -> dict[str, Any]:
    """The tokenizers, and by template the ids of each conversation: whole, before its first answer, learnt (marks)."""
    return json.loads(GOLDEN.read_text())
