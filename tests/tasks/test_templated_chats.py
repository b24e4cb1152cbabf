import json
import shutil

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, InstructionTask, Tally, generator, task_from_file, vocabularies
from flan_jax.tasks.examples import examples, prompt_facts
from flan_jax.tasks.span_corruption import sentinels
from flan_jax.text.codec import Codec
from flan_jax.text.extended_tokenizer import Extension, extend
from flan_jax.text.kept_vocabulary import keep, kept
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests.tokenizer_folders import CHATML, byte_level, with_bos

LONG = {"inputs": None, "targets": None}
TALK = [
    {"role": "user", "content": "Is plum a fruit?"},
    {"role": "assistant", "content": "It is."},
    {"role": "user", "content": "And stone?"},
    {"role": "assistant", "content": "No <|im_end|>!"},
    {"role": "user", "content": "unanswered"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return byte_level(tmp_path_factory.mktemp("folders") / "chatty")


@pytest.fixture
def chat(folder):
    def declare(*talks, **fields):
        rows = [{"messages": talk} for talk in talks]
        return ChatTask("chat", generator(lambda split: rows), vocabulary=str(folder), **fields).register()

    return declare


def test_the_ids_are_those_of_the_whole_text_and_answers_with_their_ends_bear_loss(chat, folder):
    chat(TALK)
    (one,) = examples("chat", "train", LONG)
    tokenizer, ids = TokenizerFolder(folder), [*one.inputs, *one.targets]
    whole = "".join(tokenizer.pieces(ids))
    assert whole.startswith("<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nIs plum a fruit?<|im_end|>\n")
    assert ids == tokenizer.encode_rendered(whole)[0]  # the line feed after the last end is left off
    assert one.inputs_text.endswith("<|im_start|>assistant\n") and whole.startswith(one.inputs_text)
    learnt = "".join(tokenizer.pieces(one.targets[one.weights == 1]))
    assert learnt == "It is.<|im_end|>No <|im_end|>!<|im_end|>"
    assert "And stone?" in "".join(tokenizer.pieces(one.targets[one.weights == 0]))
    assert one.targets[-1] == tokenizer.eos_id


def test_where_a_template_ends_no_earlier_answer_the_last_that_is_left_still_ends(tmp_path):
    folder = byte_level(tmp_path / "chatty", CHATML.replace("<|im_end|>\n", ""))
    ChatTask("cut", generator(lambda split: [{"messages": TALK}]), vocabulary=str(folder)).register()
    tokenizer = TokenizerFolder(folder)
    (whole,) = examples("cut", "train", LONG)
    for room in range(8, len(whole.targets)):
        (one,) = examples("cut", "train", {"inputs": None, "targets": room})
        pieces = tokenizer.pieces(one.targets)
        assert (one.learnt, "".join(pieces[:-1])) == (("It is.",), "It is.") and one.cut_tokens > 0
        assert one.targets[-1] == tokenizer.eos_id and len(one.targets) <= room and one.weights is None


@pytest.mark.parametrize("end", ["<|im_end|>", ""])
def test_an_answer_counts_as_its_message_says(tmp_path, end):
    """With its end, whether the template writes one or only the last answer has one, which the task adds."""
    folder = byte_level(tmp_path / "chatty", CHATML.replace("<|im_end|>\n", end))
    weights = [None, 0.0, None, 0.5, None, 2.0]
    talk = [*TALK[:4], TALK[2], TALK[1]]
    talk = [turn if w is None else turn | {"loss_weight": w} for turn, w in zip(talk, weights, strict=True)]
    ChatTask("weighted", generator(lambda split: [{"messages": talk}]), vocabulary=str(folder)).register()
    (one,) = examples("weighted", "train", LONG)
    tokenizer = TokenizerFolder(folder)
    learnt = {weight: "".join(tokenizer.pieces(one.targets[one.weights == weight])) for weight in {*one.weights}}
    assert set(learnt) == {0.0, 0.5, 2.0} and one.weights[-1] == 2.0
    assert learnt[0.0].startswith(f"It is.{end}") and "And stone?" in learnt[0.0]
    assert learnt[0.5] == f"No <|im_end|>!{end}" and learnt[2.0] == "It is.<|im_end|>"


def test_a_long_turn_is_shortened_and_the_template_stays_whole(chat, folder):
    chat([{"role": "user", "content": "plum " * 60 + "fruit?"}, *TALK[1:2]])
    tally = Tally()
    (whole,) = examples("chat", "train", LONG)
    limit = len(whole.inputs) - 30
    (one,) = examples("chat", "train", {"inputs": limit, "targets": 20}, tally=tally)
    text = "".join(TokenizerFolder(folder).pieces(one.inputs))
    assert limit - 16 < len(one.inputs) <= limit and text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert text.startswith("<|im_start|>system") and tally.truncated == 1 and one.cut_tokens >= 30


def test_later_exchanges_are_left_off_before_an_answer_is_cut(chat, folder):
    chat(TALK)
    tokenizer = TokenizerFolder(folder)
    (whole,) = examples("chat", "train", LONG)
    (one,) = examples("chat", "train", {"inputs": 90, "targets": len(whole.targets) - 1})
    assert "".join(tokenizer.pieces(one.targets)) == "It is.<|im_end|>" and one.weights is None
    (one,) = examples("chat", "train", {"inputs": 90, "targets": 3})
    assert len(one.targets) == 3 and one.targets[-1] == tokenizer.eos_id
    assert list(examples("chat", "train", {"inputs": 90, "targets": 3}, on_long="drop")) == []


def test_a_row_that_the_template_refuses_is_a_bad_row(tmp_path):
    folder = byte_level(tmp_path / "strict", "{{ raise_exception('no tools here') }}")
    ChatTask("strict", generator(lambda split: [{"messages": TALK}]), vocabulary=str(folder)).register()
    with pytest.raises(UserError, match="row 0.*no tools here.*on_bad_row"):
        list(examples("strict", "train", LONG))
    tally = Tally()
    assert list(examples("strict", "train", LONG, on_bad_row="skip", tally=tally)) == [] and tally.bad_rows == 1


# Thoughts by a field, of the last question's answers alone; tools and calls as JSON between marks.
AGENT = (
    "{% if tools %}<|im_start|>tools\n{{ tools | tojson }}<|im_end|>\n{% endif %}"
    "{% set last = namespace(at=0) %}{% for m in messages %}{% if m.role == 'user' %}{% set last.at = loop.index0 %}"
    "{% endif %}{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.reasoning_content and loop.index0 > last.at %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}<call>{{ c.function | tojson }}</call>{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ADD = {"name": "add", "arguments": {"a": 1}}
AGENTS_TALK = [
    {"role": "user", "content": "Sum?"},
    {"role": "assistant", "content": "", "reasoning_content": "call it", "tool_calls": [{"function": ADD}]},
    {"role": "tool", "content": "2"},
    {"role": "assistant", "content": "It is 2.", "reasoning_content": "2 it is"},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "No.", "reasoning_content": "no more"},
]
CALLED = '<call>{"name": "add", "arguments": {"a": 1}}</call>'


def marked(folder, one):
    """An example as text, what bears loss between "«" and "»"."""
    tokenizer, weights = TokenizerFolder(folder), np.ones(len(one.targets)) if one.weights is None else one.weights
    text, inside = "".join(tokenizer.pieces(one.inputs)), False
    for piece, weight in zip(tokenizer.pieces(one.targets), weights, strict=True):
        text += "" if (weight > 0) == inside else "»" if inside else "«"
        text, inside = text + piece, bool(weight > 0)
    return text + "»" * inside


@pytest.mark.parametrize("thinking", ["left_out", "context", "learnt"])
def test_thoughts_and_calls_as_the_template_writes_them(tmp_path, thinking):
    """Each answer with what the model has before it when it gives that answer, although later thoughts are gone."""
    folder = byte_level(tmp_path / "agent", AGENT)
    rows = [{"messages": AGENTS_TALK, "tools": '[{"name": "add"}]'}]
    ChatTask("agent", generator(lambda split: rows), vocabulary=str(folder), thinking=thinking).register()
    found = list(examples("agent", "train", LONG))
    before = {"left_out": "{}«", "context": "<think>\n{}\n</think>\n\n«", "learnt": "«<think>\n{}\n</think>\n\n"}
    thought = lambda text: before[thinking].format("" if thinking == "left_out" else text)
    turn = "<|im_end|>\n<|im_start|>"
    head = '<|im_start|>tools\n[{"type": "function", "function": {"name": "add"}}]'
    tool = f"{head}{turn}user\nSum?{turn}assistant\n"
    first = f"{tool}{thought('call it')}{CALLED}<|im_end|>»\n<|im_start|>tool\n2{turn}assistant\n"
    first += f"{thought('2 it is')}It is 2.<|im_end|>»"
    last = f"{turn}user\nAnd?{turn}assistant\n{thought('no more')}No.<|im_end|>»"
    if thinking == "left_out":
        assert [marked(folder, one) for one in found] == [first + last.removeprefix("<|im_end|>")]
    else:
        second = f"{tool}{CALLED}{turn}tool\n2{turn}assistant\nIt is 2.{last}"
        assert [marked(folder, one) for one in found] == [first, second]
        assert [one.id for one in found] == ["train:0#0", "train:0#1"]
        assert [one.targets_text for one in found] == [f"{json.dumps(ADD)}\nIt is 2.", "No."]
    learnt = [CALLED, "It is 2.", "No."]
    if thinking == "learnt":
        thoughts = ("call it", "2 it is", "no more")
        learnt = [f"<think>\n{it}\n</think>\n\n{said}" for it, said in zip(thoughts, learnt, strict=True)]
    assert [text for one in found for text in one.learnt] == learnt


def test_real_agents_teach_each_thought_call_and_answer_once(tmp_path, data):
    folder = byte_level(tmp_path / "agent", AGENT)
    rows = [json.loads(line) for line in (data / "chat" / "reason_tool_use.jsonl").read_text().splitlines()]
    ChatTask("real", generator(lambda split: rows), vocabulary=str(folder), thinking="learnt").register()
    learnt: dict = {}
    tokenizer, bare = TokenizerFolder(folder), lambda text: "".join(text.replace("<|im_end|>", "").split())
    for one in examples("real", "train", LONG):
        learnt.setdefault(one.id.partition("#")[0], []).extend(one.learnt)
        tokens = one.targets if one.weights is None else one.targets[one.weights > 0]
        assert bare(tokenizer.rendered(tokens.tolist())) == bare("".join(one.learnt))
    assert len(learnt) == len(rows)
    for texts, row in zip(learnt.values(), rows, strict=True):
        answers = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
        for text, parts in zip(texts, answers, strict=True):
            for part in parts:
                calls = part["type"] == "tool_call"
                assert (json.loads(part["value"])["name"] if calls else part["value"].strip()) in text


@pytest.mark.parametrize(
    ("template", "message", "fault"),
    [
        (
            CHATML.replace("message['content']", "message['content'].split('</think>')[-1]"),
            {"content": "<think>hm</think>It is."},
            "leaves out the thoughts of message 2; set thinking to 'left_out'",
        ),
        (
            CHATML.replace("message['content']", "message['content'] | lower"),
            {"content": "<think>hm</think>It is."},
            "writes message 2 otherwise than it is said, so that it is not clear where its thoughts end; set thinking",
        ),
        (
            "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if not m.content and m.tool_calls %}"
            "{{ m.tool_calls[0].function.name }}{% endif %}<|im_end|>{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}",
            {"content": "So:", "tool_calls": [{"function": ADD}]},
            "does not write the call of 'add' in message 2; mend the template, or the row",
        ),
    ],
)
def test_what_a_template_does_not_write_is_told(tmp_path, template, message, fault):
    folder = byte_level(tmp_path / "lossy", template)
    rows = [{"messages": TALK[:2]}, {"messages": [TALK[0], {"role": "assistant", **message}]}]
    ChatTask("lossy", generator(lambda split: rows), vocabulary=str(folder), thinking="context").register()
    with pytest.raises(UserError, match=f"row 1 of .*the chat template {fault}"):
        list(examples("lossy", "train", LONG))
    assert [one.id for one in examples("lossy", "train", LONG, on_bad_row="skip")] == ["train:0"]


def test_an_end_that_stands_before_the_next_message_ends_the_last_answer_too(tmp_path):
    template = (
        "{% for m in messages %}{% if not loop.first %}<|im_end|>{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}"
        "{% endfor %}{% if add_generation_prompt %}<|im_end|><|im_start|>assistant\n{% endif %}"
    )
    folder = byte_level(tmp_path / "next", template, eos_token="<|endoftext|>")
    ChatTask("next", generator(lambda split: [{"messages": TALK}]), vocabulary=str(folder)).register()
    (one,) = examples("next", "train", LONG)
    asked_on = "<|im_start|>user\nAnd stone?<|im_end|><|im_start|>assistant\n"
    assert marked(folder, one).endswith(f"assistant\n«It is.<|im_end|>»{asked_on}«No <|im_end|>!<|im_end|>»")
    assert one.learnt == ("It is.", "No <|im_end|>!")
    # The model that was trained so stops there.
    ends = TokenizerFolder(folder).pieces(vocabularies.describe(str(folder))["eos_ids"])
    assert ends == ["<|endoftext|>", "<|im_end|>"]


def test_what_begins_a_message_is_no_end_of_an_answer(tmp_path):
    for name, source in (("chatml", CHATML.replace("<|im_end|>\n", "")), ("plain", "{{ messages[-1].content }}")):
        folder = byte_level(tmp_path / name, source, eos_token="<|endoftext|>")
        assert TokenizerFolder(folder).pieces(vocabularies.describe(str(folder))["eos_ids"]) == ["<|endoftext|>"]


@pytest.mark.parametrize("choice", [{"each_turn": True}, {"loss_on": "last"}])
def test_the_last_turns_alone_and_what_does_not_fit_before_them(chat, folder, choice):
    talk = [{"role": "system", "content": "Be quick."}, *TALK]
    chat(talk, **choice)
    *_, one = examples("chat", "train", LONG)
    assert one.id == ("train:0#1" if "each_turn" in choice else "train:0")
    assert one.targets_text == "No <|im_end|>!" and one.weights is None
    head, last = "<|im_start|>system\nBe quick.<|im_end|>\n", "<|im_start|>user\nAnd stone?<|im_end|>\n"
    assert one.inputs_text.startswith(f"{head}<|im_start|>user\nIs plum")
    assert one.inputs_text.endswith(f"assistant\nIt is.<|im_end|>\n{last}<|im_start|>assistant\n")
    (alone,) = TokenizerFolder(folder).encode_all_rendered([f"{head}{last}<|im_start|>assistant\n"])
    tally = Tally()
    *_, cut = examples("chat", "train", {"inputs": len(alone), "targets": None}, tally=tally)
    assert cut.inputs.tolist() == alone and tally.truncated == 1
    assert cut.cut_tokens == len(one.inputs) - len(alone) and cut.targets.tolist() == one.targets.tolist()


def test_the_role_names_are_used_where_the_template_is_not_wanted(chat):
    chat(TALK, chat_template=False)
    (one,) = examples("chat", "train", LONG)
    assert one.inputs_text == "User: Is plum a fruit?\nAssistant:"
    assert prompt_facts("chat") == {"prompt_format": "User: {}\nAssistant:", "prompt_eos": False, "form": "roles"}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Is plum a fruit?", "completion": "It is."},
        {"instruction": "Is plum", "input": "a fruit?", "output": "It is."},
        {"messages": TALK[:2]},
    ],
)
def test_files_of_any_kind_are_put_in_the_models_form(tmp_path, folder, row):
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    task_from_file(tmp_path / "rows.jsonl", "mine", vocabulary=str(folder)).register()
    (one,) = examples("mine", "train", LONG)
    form = prompt_facts("mine")["prompt_format"]
    asked = one.inputs_text.removeprefix(form.partition("{}")[0]).removesuffix(form.partition("{}")[2])
    assert asked in ("Is plum a fruit?", "Is plum\n\na fruit?")
    # Who asks the trained model for it gives it the same ids.
    codec = Codec(vocabularies.describe(str(folder)))
    assert codec.encode_prompt(asked, form) == codec.encode_prompt(one.inputs_text, form) == one.inputs.tolist()
    assert codec.decode([*one.targets, -1, -1]) == "It is."


def test_without_a_template_rows_stay_as_they_are_and_t5s_inputs_end(tmp_path):
    plain, t5 = byte_level(tmp_path / "plain", template=None), with_bos(tmp_path / "t5", ends=True)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "Is plum a fruit?", "completion": "It is."}\n')
    for name, folder, end in (("plain", plain, []), ("t5", t5, [1])):
        task_from_file(tmp_path / "rows.jsonl", name, vocabulary=str(folder)).register()
        (one,) = examples(name, "train", LONG)
        assert one.inputs.tolist() == TokenizerFolder(folder).encode(["Is plum a fruit?"])[0] + end
        assert prompt_facts(name) == {"prompt_format": "{}", "prompt_eos": bool(end), "form": "plain"}


def test_a_run_keeps_the_tokenizer_and_knows_it_again(tmp_path, folder):
    described = vocabularies.describe(str(folder / "tokenizer.json"))
    assert described["kind"] == "tokenizers" and described["eos_ids"] == [2]
    keep(described, tmp_path)
    again = kept(tmp_path)
    assert vocabularies.describe(str(tmp_path / "tokenizer"))["fingerprint"] == described["fingerprint"]
    assert Codec(again).encode("plum") == Codec(described).encode("plum")
    assert Codec(again).pieces([2]) == ["<|im_end|>"]
    ids = Codec(again).encode_prompt("plum", "<|im_start|>{}<|im_end|>")
    assert Codec(again).text(np.array([*ids, 2])) == "<|im_start|>plum<|im_end|><|im_end|>"
    assert Codec(again).decode([2, *ids]) == "" and Codec(again).decode([*ids[1:], 5]) == "plum"


def test_seqios_own_preprocessors_take_the_vocabulary(folder):
    vocabulary = vocabularies.load(str(folder))
    text = "Is plum a fruit?"
    ids = vocabulary.encode(text)
    assert vocabulary.encode_tf(tf.constant(text)).numpy().tolist() == ids
    assert vocabulary.decode_tf(tf.constant([[*ids, 2, 5], [*ids, 2, 2]])).numpy().tolist() == [text.encode()] * 2
    assert vocabulary.decode([*ids, 2, 7]) == text and vocabulary == vocabularies.load(str(folder / "tokenizer.json"))
    seqio.Feature(vocabulary)


def test_a_folder_without_a_tokenizer_is_told(tmp_path):
    with pytest.raises(UserError, match="has no tokenizer .tokenizer.json, spiece.model or tokenizer.model"):
        vocabularies.load(str(tmp_path))


def test_sentinels_are_t5s(tmp_path):
    folder = with_bos(tmp_path / "t5", ends=True)
    vocabulary = vocabularies.load(str(folder))
    assert vocabulary.extra_ids == 5 and vocabulary.tokenizer.pieces([vocabulary.vocab_size - 1]) == ["<extra_id_0>"]
    top = vocabulary.vocab_size - 1
    extend(folder, Extension(("<|tool|>",))).write(tmp_path / "more")  # behind them
    for place in (folder, tmp_path / "more"):
        assert sentinels(vocabularies.load(str(place)), "t") == [top, top - 1, top - 2, top - 3, top - 4]


def test_instruction_tasks_encode_in_batches(folder):
    rows = [{"word": f"plum {number}"} for number in range(40)]
    InstructionTask(
        "words",
        generator(lambda split: rows),
        templates=("Say {word}.",),
        answer="word",
        vocabulary=str(folder),
        chat_template=False,
    ).register()
    tokenizer = TokenizerFolder(folder)
    for number, one in enumerate(examples("words", "train", LONG)):
        assert one.inputs.tolist() == tokenizer.encode([f"Say plum {number}."])[0]
        assert np.array_equal(one.targets, [*tokenizer.encode([f"plum {number}"])[0], 2])


def test_generation_marks_around_what_is_said_alone_teach_its_end_too(tmp_path):
    marked = (
        "{% for m in messages %}{{ m.role + ':\n' }}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}"
        "{% endgeneration %}{{ eos_token }}{% else %}{{ m.content }}{% endif %}{{ '\n' }}{% endfor %}"
    )
    folder = byte_level(tmp_path / "marked", marked)
    ChatTask("marked", generator(lambda split: [{"messages": TALK}]), vocabulary=str(folder)).register()
    (one,) = examples("marked", "train", LONG)
    learnt = "".join(TokenizerFolder(folder).pieces(one.targets[one.weights == 1]))
    assert learnt == "It is.<|im_end|>No <|im_end|>!<|im_end|>"


def test_what_is_cut_of_a_long_question_is_its_middle(chat, folder):
    question = "Say yes or no. " + "plum " * 60 + "Is that a fruit?"
    chat([{"role": "user", "content": question}, *TALK[1:2]])
    (one,) = examples("chat", "train", {"inputs": 120, "targets": 20})
    text = "".join(TokenizerFolder(folder).pieces(one.inputs))
    assert "user\nSay yes or no. plum" in text and "plum Is that a fruit?<|im_end|>" in text


def test_a_sentencepiece_model_of_a_folder_has_the_sentinels_that_the_folder_says(tmp_path, model):
    for name in ("t5", "mt5", "llama"):
        (tmp_path / name).mkdir()
        shutil.copy(model, tmp_path / name / ("tokenizer.model" if name == "llama" else "spiece.model"))
    (tmp_path / "mt5" / "tokenizer_config.json").write_text('{"extra_ids": 0}')
    sizes = [vocabularies.load(str(tmp_path / name)).vocab_size for name in ("t5", "mt5", "llama")]
    assert sizes == [500, 400, 400]


def test_a_chat_template_beside_a_sentencepiece_model_is_told(tmp_path, model):
    shutil.copy(model, tmp_path / "tokenizer.model")
    assert vocabularies.chat_template(str(tmp_path)) is None
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    with pytest.raises(UserError, match="a chat template and tokenizer.model, but no tokenizer.json.*save_pretrained"):
        vocabularies.chat_template(str(tmp_path))
