import json

import pytest

from flan_jax.errors import UserError
from flan_jax.text.tokenizer_fields import read_tokenizer_json


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("tokenizer_config.json", {"eos_token": 5, "add_bos_token": "no"}, ["eos_token is 5", "add_bos_token is 'no'"]),
        (
            "tokenizer_config.json",
            {"eos_token": {"content": 5}, "extra_ids": "x"},
            ["eos_token is {", "extra_ids is 'x'"],
        ),
        ("tokenizer_config.json", {"tokenizer_class": ["LlamaTokenizer"]}, ["tokenizer_class is ['LlamaTokenizer']"]),
        ("special_tokens_map.json", {"bos_token": [], "pad_token": 1}, ["bos_token is []", "pad_token is 1"]),
        ("chat_template.json", {"chat_template": ["x"]}, ["chat_template is ['x'], wanted a text"]),
        ("tokenizer.json", {"model": 5, "added_tokens": "none"}, ["model is 5", "added_tokens is 'none'"]),
        (
            "tokenizer.json",
            {"model": {"vocab": {"a": "b"}}, "added_tokens": [{"id": "x"}]},
            ["model.vocab is {'a': 'b'}", "added_tokens[0].id is 'x'", "added_tokens[0].content is missing"],
        ),
        ("tokenizer.json", {"post_processor": {"type": "TemplateProcessing", "single": 5}}, ["post_processor names"]),
        (
            "tokenizer.json",
            {"post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "</s>"}}]}},
            ["post_processor names special tokens whose ids it does not give"],
        ),
        (
            "tokenizer.json",
            {"post_processor": {"type": "Sequence", "processors": 5}},
            ["processors is 5, wanted a list"],
        ),
        ("added_tokens.json", {"a": "b", "c": 5.5}, ["a is 'b', wanted a whole number", "c is 5.5"]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_all_faults_of_a_tokenizers_file_are_told_at_once(tmp_path, name, content, words, encoding):
    (tmp_path / name).write_bytes(json.dumps(content).encode(encoding))
    with pytest.raises(UserError) as told:
        read_tokenizer_json(tmp_path / name)
    assert name in str(told.value) and all(word in str(told.value) for word in words), told.value


def test_what_tokenizers_writes_passes(tmp_path):
    sound = {"eos_token": {"content": "</s>", "lstrip": False}, "pad_token": None, "chat_template": "{{ messages }}"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(sound))
    assert read_tokenizer_json(tmp_path / "tokenizer_config.json") == sound
    assert read_tokenizer_json(tmp_path / "special_tokens_map.json") == {}
