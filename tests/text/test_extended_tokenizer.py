"""A tokenizer with tokens and a chat template of the run's own, looked at through the tokenizers library."""

import json

import pytest
import tokenizers

from flan_jax.errors import UserError
from flan_jax.text.chat_templates import ChatTemplate, answer_ends
from flan_jax.text.extended_tokenizer import Extension, check_extends, extend
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests.tokenizer_folders import byte_level, with_bos

TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|stop|>{% endfor %}"


def extended(base, target, tokens=(), template=None):
    """What an extension says, and its folder as the library and as we read it."""
    made = extend(base, Extension(tokens, template))
    made.write(target)
    return made, tokenizers.Tokenizer.from_file(str(target / "tokenizer.json")), TokenizerFolder(target)


def test_tokens_take_the_ids_behind_the_last_and_one_id_each(tmp_path):
    base = byte_level(tmp_path / "base")
    before = tokenizers.Tokenizer.from_file(str(base / "tokenizer.json"))
    size = before.get_vocab_size()
    made, theirs, ours = extended(base, tmp_path / "out", ("<|tool|>", "<|im_end|>", "Ġis", " so be it"))
    assert made.new == {"<|tool|>": size, " so be it": size + 1} and made.size == size
    assert made.known == {"<|im_end|>": 2, "Ġis": before.token_to_id("Ġis")}
    assert theirs.get_vocab_size() == ours.size == size + 2
    text = "It is.<|tool|>Oslo so be it<|im_end|>"
    assert [i for i in theirs.encode(text).ids if i >= size or i == 2] == [size, size + 1, 2]
    assert ours.encode_rendered(text)[0] == theirs.encode(text).ids
    # A user's own text is never read as one, and all that was there is read as before.
    assert max(ours.encode([text])[0]) < size and ours.encode(["Is plum a fruit?"]) == [
        before.encode("Is plum a fruit?").ids
    ]
    assert ours.decode([size, *before.encode("plum").ids]) == "plum"
    assert all(theirs.get_added_tokens_decoder()[i].special for i in (*made.new.values(), *made.known.values()))
    again, *_ = extended(tmp_path / "out", tmp_path / "again", ("<|im_end|>", "<|tool|>"))
    assert again.files == made.files and not again.new and again.known == {"<|im_end|>": 2, "<|tool|>": size}


def test_every_file_that_lists_tokens_lists_the_new_ones(tmp_path):
    decoder = {"2": {"content": "<|im_end|>", "special": True}}
    base = byte_level(tmp_path / "base", added_tokens_decoder=decoder, additional_special_tokens=["<|im_end|>"])
    (base / "special_tokens_map.json").write_text(
        '{"extra_special_tokens": ["<|im_start|>"], "eos_token": "<|im_end|>"}'
    )
    (base / "added_tokens.json").write_text('{"<|im_end|>": 2}')
    (base / "generation_config.json").write_text('{"eos_token_id": 2}')
    made, _, ours = extended(base, tmp_path / "out", ("<|tool|>",))
    read = lambda name: json.loads((tmp_path / "out" / name).read_text())
    settings, new = read("tokenizer_config.json"), made.new["<|tool|>"]
    assert settings["additional_special_tokens"] == ["<|im_end|>", "<|tool|>"]
    assert settings["added_tokens_decoder"]["2"] == decoder["2"]
    assert settings["added_tokens_decoder"][str(new)]["content"] == "<|tool|>"
    assert read("special_tokens_map.json") == {
        "extra_special_tokens": ["<|im_start|>", "<|tool|>"], "eos_token": "<|im_end|>"
    }  # fmt: skip
    assert read("added_tokens.json") == {"<|im_end|>": 2, "<|tool|>": new}
    assert read("generation_config.json") == {"eos_token_id": 2} and settings["chat_template"] == ours.chat_template
    # T5's slow tokenizer reads its model, and tokens beside it; its sentinels stay what they are.
    t5 = with_bos(tmp_path / "t5", ends=True)
    (t5 / "spiece.model").write_bytes(b"a model")
    made, _, ours = extended(t5, tmp_path / "t5_out", ("<|tool|>",))
    assert read("../t5_out/added_tokens.json") == made.new and ours.sentinels == TokenizerFolder(t5).sentinels
    assert len(ours.sentinels) == 5 and ours.rendered(ours.sentinels[:1]) == "<extra_id_0>"


def test_a_template_of_ones_own_is_what_prompts_are_written_by(tmp_path):
    base, file = byte_level(tmp_path / "base"), tmp_path / "chat.jinja"
    (base / "chat_template.json").write_text('{"chat_template": "old"}')
    file.write_text(TURNS)
    made, _, ours = extended(base, tmp_path / "out", ("<|stop|>",), str(file))
    assert ours.chat_template == TURNS and "chat_template" not in ours.settings
    assert not (tmp_path / "out" / "chat_template.json").exists()
    template = ChatTemplate.of(ours)
    assert template is not None and template.render([{"role": "user", "content": "Hi"}]) == "<|user|>Hi<|stop|>"
    assert answer_ends(ours) == (2, made.new["<|stop|>"])  # where a generation stops
    assert made.unknown_marks == () and made.notes(in_chats=True) == [f"special tokens: new: <|stop|> ({made.size})"]
    file.write_text(TURNS + "{% if add_generation_prompt %}<|assistant|>{% endif %}<|im_end|>")
    made, *_ = extended(base, tmp_path / "out", (), str(file))
    assert made.unknown_marks == ("<|stop|>", "<|assistant|>")
    (said,) = made.notes(in_chats=True)
    assert said.startswith(
        "CHAT_TEMPLATE writes <|stop|>, <|assistant|>, several ordinary tokens each; name it in SPECIAL"
    )


def test_new_tokens_that_no_row_can_hold_are_told(tmp_path):
    made = extend(byte_level(tmp_path, None), Extension(("<|tool|>", "<|im_end|>")))
    first, second = made.notes(in_chats=False)
    assert first.endswith("there already: <|im_end|> (2)") and second.endswith("set CHAT_TEMPLATE, or FORM to 'chat'")
    assert len(extend(tmp_path, Extension(("<|im_end|>",))).notes(in_chats=False)) == 1


def test_what_cannot_be_added_is_told(tmp_path):
    base, file = byte_level(tmp_path / "base"), tmp_path / "chat.jinja"

    def refused(match, base=base, **how):
        with pytest.raises(UserError, match=match):
            extend(base, Extension(**how))

    refused("SPECIAL_TOKENS: .*nowhere has no tokenizer.json, to which .*save_pretrained", "nowhere", tokens=("<|a|>",))
    refused(r"CHAT_TEMPLATE .*chat.jinja cannot be read as UTF-8 \(.*name a file of Jinja", chat_template=str(file))
    file.write_bytes(b"{{ messages }} \xff")
    refused("SPECIAL_TOKENS and CHAT_TEMPLATE: .*nowhere", "nowhere", tokens=("a",), chat_template=str(file))
    refused("cannot be read as UTF-8", chat_template=str(file))
    for text, match in (
        ("{% for %}", r"chat.jinja cannot be rendered \(TemplateSyntaxError"),
        ("Hi", "without the question"),
    ):
        file.write_text(text)
        refused(match, chat_template=str(file))
    gaps = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 7}, []))
    gaps.save(str(tmp_path / "tokenizer.json"))
    refused("takes no '<|t|>', as its ids have gaps", tmp_path, tokens=("<|t|>",))


def test_a_model_of_another_tokenizer_is_refused(tmp_path):
    base, other = byte_level(tmp_path / "base"), with_bos(tmp_path / "other")
    extension = Extension(("<|tool|>",))
    extend(base, extension).write(tmp_path / "out")
    ours = {"kind": "tokenizers", "path": str(tmp_path / "out" / "tokenizer.json")}
    check_extends(ours, str(base), extension, "runs/a")
    check_extends(ours, str(tmp_path / "out"), extension, "runs/b")  # which was trained with it before
    with pytest.raises(
        UserError, match="model in runs/c was trained with another tokenizer than the one that SPECIAL_T"
    ):
        check_extends(ours, str(other), extension, "runs/c")
    with pytest.raises(UserError, match="tasks are read with a byte vocabulary; leave them out"):
        check_extends({"kind": "byte", "path": None}, str(base), extension, "runs/a")
    with pytest.raises(UserError, match="no vocabulary that runs/a could be known to have"):
        check_extends(ours, "", extension, "runs/a")
