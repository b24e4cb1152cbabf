import json

import pytest

from flan_jax.errors import UserError
from flan_jax.text.chat_templates import ChatTemplate, answer_ends
from flan_jax.text.tokenizer_folder import TokenizerFolder, named_ends
from tests.tokenizer_folders import byte_level, with_bos


@pytest.fixture(scope="module")
def qwen(tmp_path_factory):
    return TokenizerFolder(byte_level(tmp_path_factory.mktemp("folders") / "qwen"))


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return TokenizerFolder(with_bos(tmp_path_factory.mktemp("folders") / "t5", ends=True))


@pytest.mark.parametrize("text", ["Is plum a fruit?", "", "  a\n\n b\t", "naïve café ẞ 👩‍👩‍👧", "a\r\nb", "42"])
def test_text_comes_back_from_its_ids(qwen, text):
    (ids,) = qwen.encode([text])
    assert qwen.decode(ids) == text and "".join(qwen.pieces(ids)).startswith(text[:2])


def test_the_name_of_a_special_token_in_a_users_text_is_text(qwen):
    (ids,) = qwen.encode(["a<|im_end|>b"])
    assert qwen.eos_id not in ids and qwen.decode(ids) == "a<|im_end|>b"
    rendered, offsets = qwen.encode_rendered("a<|im_end|>b")
    assert rendered.count(qwen.eos_id) == 1 and offsets[rendered.index(qwen.eos_id)] == (1, 11)


def test_special_tokens_are_known(qwen, t5, tmp_path):
    assert (qwen.eos_id, qwen.around, qwen.token("pad_token")) == (2, (-1, False), "<|endoftext|>")
    assert (t5.eos_id, t5.around, len(t5.sentinels)) == (1, (-1, True), 5)
    llama = TokenizerFolder(with_bos(tmp_path / "llama"))
    assert llama.around == (3, False) and 3 not in llama.encode(["plum"])[0]
    older = byte_level(tmp_path / "older", add_bos_token=True, bos_token="<|endoftext|>")
    assert TokenizerFolder(older).around == (0, False)
    (tmp_path / "llama" / "generation_config.json").write_text('{"eos_token_id": [1, 7]}')
    assert answer_ends(TokenizerFolder(tmp_path / "llama")) == (1, 7)


def test_the_fingerprint_is_of_the_content(qwen, tmp_path):
    again = TokenizerFolder(byte_level(tmp_path / "elsewhere"))
    other = TokenizerFolder(byte_level(tmp_path / "other", eos_token="<|endoftext|>"))
    assert again.fingerprint == qwen.fingerprint != other.fingerprint


def test_a_template_may_stand_in_a_file_or_be_one_of_several(qwen, tmp_path):
    several = [{"name": "tools", "template": "no"}, {"name": "default", "template": "yes"}]
    folder = byte_level(tmp_path / "several", several)
    assert TokenizerFolder(folder).chat_template == "yes"
    (folder / "chat_template.jinja").write_text("from a file")
    assert TokenizerFolder(folder).chat_template == "from a file"


def test_what_is_wrong_with_a_folder_is_told(tmp_path):
    with pytest.raises(UserError, match="tokenizer.json does not exist; fetch the folder anew"):
        TokenizerFolder(tmp_path).encode(["a"])
    (tmp_path / "tokenizer.json").write_text('{"model": 5}')
    with pytest.raises(UserError, match=r"tokenizer.json cannot be read \(.*\); fetch"):
        TokenizerFolder(tmp_path).encode(["a"])
    folder = byte_level(tmp_path / "endless", eos_token=None)
    with pytest.raises(UserError, match='names no end-of-sequence token.*write "eos_token" into its tokenizer_config'):
        _ = TokenizerFolder(folder).eos_id
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="tokenizer_config.json cannot be read as JSON"):
        _ = TokenizerFolder(folder).settings
    assert json.loads((folder / "tokenizer.json").read_text())["model"]["type"] == "BPE"


def test_a_token_that_begins_texts_and_ends_them_by_name_does_not_end_inputs(tmp_path):
    from tokenizers import Tokenizer, processors

    folder = byte_level(tmp_path / "gpt", eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    made = Tokenizer.from_file(str(folder / "tokenizer.json"))
    made.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    made.save(str(folder / "tokenizer.json"))
    assert TokenizerFolder(folder).around == (0, False)


def test_the_end_of_a_turn_in_the_template_ends_answers_too(tmp_path):
    folder = byte_level(tmp_path / "base", eos_token="<|endoftext|>")
    assert answer_ends(TokenizerFolder(folder)) == (0, 2)
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|endoftext|>"}')
    assert answer_ends(TokenizerFolder(folder)) == (0,)


@pytest.mark.parametrize(
    ("config", "generation", "ends"),
    [
        ({"eos_token_id": 7}, None, (7,)),
        ({"eos_token_id": [1, 7]}, None, (1, 7)),
        ({"eos_token_id": None, "text_config": {"eos_token_id": 7}}, None, (7,)),
        ({"eos_token_id": 6, "text_config": {"eos_token_id": 7}}, None, (6,)),
        ({"eos_token_id": 7}, {"temperature": 0.6}, ()),  # that file alone is read where it is there
        ({"eos_token_id": 7}, {"eos_token_id": [8]}, (8,)),
        ({"eos_token_id": -1}, None, ()),
        (None, None, ()),
    ],
)
def test_the_models_settings_name_tokens_that_end_an_answer(config, generation, ends, tmp_path):
    folder = with_bos(tmp_path / "llama")
    for name, said in (("config.json", config), ("generation_config.json", generation)):
        if said is not None:
            (folder / name).write_text(json.dumps(said))
    tokenizer = TokenizerFolder(folder)
    assert named_ends(folder) == ends and answer_ends(tokenizer) == tuple(dict.fromkeys((1, *ends)))
    kept = tmp_path / "kept"  # as a run keeps a tokenizer
    kept.mkdir()
    for file in tokenizer.files():
        (kept / file.name).write_bytes(file.read_bytes())
    assert answer_ends(TokenizerFolder(kept)) == answer_ends(tokenizer)


def test_ends_that_are_no_ids_are_refused(tmp_path):
    folder = with_bos(tmp_path / "llama")
    (folder / "config.json").write_text('{"eos_token_id": ["</s>"]}')
    with pytest.raises(UserError, match=r"config.json: eos_token_id is \['</s>'\], wanted the id of a token"):
        _ = answer_ends(TokenizerFolder(folder))


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("chatml", "writes 'chatml' of a user's question, without the question"),
        ("{% for m in %}", "cannot be rendered .TemplateSyntaxError"),
        ("{{ messages[0].content + 5 }}", "cannot be rendered .TypeError"),
        (5, "chat_template is 5, wanted a text in quotes, or a list"),
        ([{"name": "rag", "template": "x"}], "are called 'rag'; call the one to use 'default'"),
        ([{"name": "default"}], "wanted a text in quotes, or a list of objects with name and template"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_refused_where_a_folder_is_looked_at(tmp_path, template, words):
    with pytest.raises(UserError, match=words):
        answer_ends(TokenizerFolder(byte_level(tmp_path / "made", template)))  # as `describe` does, on import


def test_a_chat_template_that_wants_other_turns_is_none_of_these(tmp_path):
    wants_system = "{% if messages[0].role != 'system' %}{{ raise_exception('a system turn first') }}{% endif %}"
    assert answer_ends(TokenizerFolder(byte_level(tmp_path / "made", wants_system)))


def test_a_chat_template_that_is_no_text_is_told(tmp_path):
    folder = byte_level(tmp_path / "made")
    (folder / "chat_template.jinja").write_bytes("{{ messages }}".encode("utf-16"))
    with pytest.raises(UserError, match="chat_template.jinja cannot be read as UTF-8"):
        _ = TokenizerFolder(folder).chat_template


def test_a_template_is_tried_once(qwen, monkeypatch):
    answer_ends(qwen)
    monkeypatch.setattr(ChatTemplate, "_check", lambda template: pytest.fail("tried again"))
    assert answer_ends(qwen) and ChatTemplate.of(qwen) is not None
