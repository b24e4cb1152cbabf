"""Loss masks are proved on the tokens that are stored: right ones pass whatever wrote them, wrong ones are caught."""

import dataclasses
import json

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.data.preparing.jobs import Job
from flan_jax.data.preparing.resolving import resolve_in_child
from flan_jax.data.preparing.writing import finish_store, write_part, write_piece
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.data.stores import store as stores
from flan_jax.errors import UserError
from flan_jax.tasks import (
    ChatTask,
    InstructionTask,
    SpanCorruption,
    generator,
    jsonl,
    train_sentencepiece,
)
from flan_jax.tasks.chats import ChatRecipe
from flan_jax.tasks.variants import Variant
from tests.tokenizer_folders import CHATML, byte_level, with_bos

pytestmark = pytest.mark.usefixtures("own_registries")

LENGTHS = {"inputs": 200, "targets": 100}
TALK = [
    {"role": "user", "content": "Is plum a fruit?"},
    {"role": "assistant", "content": "It is.\n\n  Yes, {it} is."},
    {"role": "user", "content": "And stone?"},
    {"role": "assistant", "content": "No <|im_end|>!"},
]
ANSWER = "It is.\nOslo, by the fjord ﬁve ½."
ROWS = 3
#: Answers alone between marks, and their ends outside.
MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}{% generation %}"
    "{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: As many marks as answers, but around what the user says too.
WIDE = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}{% generation %}<|im_start|>user\n"
    "{{ messages[loop.index0 - 1]['content'] }}<|im_end|>\n<|im_start|>assistant\n{{ m['content'] }}<|im_end|>"
    "{% endgeneration %}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>user\n{{ messages[-1]['content'] }}<|im_end|>\n{% endif %}"
)
#: Llama 2's way: the token that begins a text begins each user's turn.
TURNS_BEGIN = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[' + m['content'] + ']' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory):
    """Vocabularies by name."""
    folder = tmp_path_factory.mktemp("vocabularies")
    texts = ["Is plum a fruit? It is. Yes, it is.", "The capital of Norway is Oslo, by the fjord."] * 20
    lossy = {"byte_fallback": False, "user_defined_symbols": [], "remove_extra_whitespaces": True, "bos_id": 3}
    train_sentencepiece(texts, 300, folder / "exact.model", {"hard_vocab_limit": False})
    options = {**lossy, "normalization_rule_name": "nmt_nfkc", "hard_vocab_limit": False}
    train_sentencepiece(texts, 60, folder / "lossy.model", options)
    return {
        "exact": str(folder / "exact.model"),
        "lossy": str(folder / "lossy.model"),
        "byte": "byte",
        "chatml": str(byte_level(folder / "chatml")),
        "endless": str(byte_level(folder / "endless", CHATML.replace("<|im_end|>\n", "\n"))),
        "marked": str(byte_level(folder / "marked", MARKED)),
        "wide": str(byte_level(folder / "wide", WIDE)),
        "begun": str(with_bos(folder / "begun")),
        "turns begin": str(with_bos(folder / "turns_begin", TURNS_BEGIN)),
        "begun twice": str(with_bos(folder / "begun_twice", TURNS_BEGIN.replace("bos_token +", "bos_token * 2 +"))),
    }


@pytest.fixture
def stored(tmp_path):
    """Prepares a task and gives its manifest."""

    def prepare(lengths=LENGTHS, task="t", **how):
        job, request = Job(task, str(tmp_path), "", 0), Request(task, "train", lengths, 0, str(tmp_path), **how)
        return finish_store(job, write_piece(job, None, request).parts, request)

    return prepare


def chat(vocabulary, *talks, name="t"):
    rows = [{"messages": talk} for talk in talks or [TALK] * ROWS]
    return ChatTask(name, generator(lambda split: rows), vocabulary=vocabulary).register()


def question(vocabulary, folder, name="t"):
    """Of a file, whose few rows are prepared in this process."""
    rows = [{"word": f"plum {number}", "said": ANSWER} for number in range(ROWS)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    asked = {"templates": ("Is {word}?", "{word}:"), "answer": "said", "vocabulary": vocabulary}
    return InstructionTask(name, jsonl(folder / "rows.jsonl"), **asked).register()


def check_proved(manifest, count=ROWS):
    tally = {key: value for key, value in manifest["tally"].items() if value}
    assert not [key for key in tally if key.startswith("wrong_")], manifest["wrong"]
    assert manifest["count"] == tally["kept"] == tally["proved"] == count and "wrong" not in manifest


@pytest.mark.parametrize(
    "vocabulary", ["exact", "lossy", "byte", "chatml", "endless", "marked", "begun", "turns begin"]
)
def test_what_is_right_is_proved_in_any_vocabulary_and_form(vocabularies, stored, tmp_path, vocabulary):
    """Whole and cut; the lossy one knows neither line feeds nor braces, and writes "ﬁ" as "fi"."""
    weighted = [turn | {"loss_weight": 0.5} for turn in TALK]
    last_alone = [TALK[0], TALK[1] | {"loss_weight": 0}, *TALK[2:]]
    chat(vocabularies[vocabulary], TALK, weighted, last_alone)
    chat(vocabularies[vocabulary], TALK, weighted, name="shorter")
    question(vocabularies[vocabulary], tmp_path, "question")
    check_proved(stored())
    if vocabulary != "endless":  # of a chat that is cut there, no end is left
        check_proved(stored({"inputs": 200, "targets": 4}, "shorter"), 2)
    check_proved(stored(task="question"))
    check_proved(stored({"inputs": 40, "targets": 5}, "question"))


def uneven(weights):
    """Other weights, made of those that are there."""

    def change(one):
        ones = np.ones(len(one.targets), np.float32) if one.weights is None else one.weights
        return dataclasses.replace(one, weights=np.array(weights(ones), np.float32))

    return change


def other_targets(change):
    """Other targets, each of which bears loss."""
    return lambda one: dataclasses.replace(one, targets=np.array(change(one), np.int32), weights=None)


def everything(one):
    return dataclasses.replace(
        one, inputs=one.inputs[:0], targets=np.concatenate([one.inputs, one.targets]), weights=None
    )


PLAIN = [*TALK[:3], {"role": "assistant", "content": "No!"}]
BROKEN = {
    "shifted right": (TALK[:2], uneven(lambda kept: [0, *kept[:-1]]), "wrong_text", "where its text is 'It is."),
    "shifted right, of two": (PLAIN, uneven(lambda kept: [0, *kept[:-1]]), "wrong_end", "(those that do: 2)"),
    "shifted left": (TALK[:2], uneven(lambda kept: [*kept[1:], 0]), "wrong_end", "(those that do: 2)"),
    "shifted left, of two": (PLAIN, uneven(lambda kept: [*kept[1:], 0]), "wrong_end", "(those that do: 2)"),
    "two tokens too many": (PLAIN, uneven(lambda kept: np.maximum(kept, [*kept[2:], 1, 1])), "wrong_text", "reads"),
    "the user's turns too": (
        PLAIN,
        other_targets(lambda one: one.targets),
        "wrong_text",
        "3 stretches of it are trained, and 2",
    ),
    "all of a chat": (
        PLAIN,
        everything,
        "wrong_start",
        r"before the answer 'It is.\n\n  Yes, {it} is.': at '<|im_start|>sys",
    ),
    "all of one exchange": (TALK[:2], everything, "wrong_start", r"before the answer 'It is."),
    "nothing": (PLAIN, uneven(lambda kept: 0 * kept), "wrong_untrained", "target tokens bears loss"),
    "cut to nothing": (PLAIN, other_targets(lambda one: one.targets[-1:]), "wrong_cut", "but what ends an answer"),
    "no end": (TALK[:2], other_targets(lambda one: one.targets[:-1]), "wrong_end", "(those that do: 2)"),
    "another text": (
        TALK[:2],
        other_targets(lambda one: [*one.targets[-2::-1], 2]),
        "wrong_text",
        "it is trained on reads '. is}it{",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_chat_with_a_broken_mask_is_caught(vocabularies, stored, monkeypatch, name):
    talk, change, check, said = BROKEN[name]
    whole = ChatRecipe.encoder
    chat(vocabularies["chatml"], *[talk] * ROWS)
    monkeypatch.setattr(ChatRecipe, "encoder", lambda *how: lambda rows: map(change, whole(*how)(rows)))
    manifest = stored()
    assert manifest["count"] == manifest["tally"]["proved"] == manifest["tally"]["kept"] == 0
    assert manifest["tally"][check] == ROWS, manifest
    assert manifest["wrong"][0].startswith("Task 't', example 'train:0' (row 0") and said in manifest["wrong"][0]


def test_a_template_whose_marks_stand_around_the_users_turn_is_caught(vocabularies, stored):
    chat(vocabularies["wide"])
    manifest = stored()
    assert manifest["tally"]["wrong_start"] == ROWS and "at '<|im_start|>user\\nIs plum" in manifest["wrong"][0]


def test_a_template_that_begins_turns_twice_is_caught(vocabularies, stored):
    """Where it begins each of them once, as some do, that is no fault."""
    chat(vocabularies["begun twice"])
    manifest = stored()
    assert manifest["tally"]["wrong_begin"] == ROWS
    assert "(id 3) stands in it 3 times, and the row begins with it" in manifest["wrong"][0]


class PadsAnswers(seqio.ByteVocabulary):
    """Ends answers by padding."""

    eos_id = 0


def added(name, before=(), after=()):
    """A seqio preprocessor."""

    def add(one):
        return one | {name: tf.concat([tf.constant(before, tf.int32), one[name], tf.constant(after, tf.int32)], 0)}

    return seqio.map_over_dataset(add)


BEFORE, AFTER = ("inputs", (3,)), ("targets", (3,))
FOREIGN = {
    "right": ("byte", [seqio.preprocessors.append_eos], None, ""),
    "no end": ("byte", [], "wrong_end", "ends no answer (those that do: 1)"),
    "ended by padding": ("byte", [added("targets", after=[0])], "wrong_end", "ends in padding (id 0)"),
    "padding taken for an end": (PadsAnswers(), [added("targets", after=[0])], "wrong_end", "ends in padding (id 0)"),
    "padded to its length": ("byte", [added("targets", after=[1, 0, 0])], "wrong_end", "ends in padding (id 0)"),
    "no end at the end": ("byte", [added("targets", after=[1, 40])], "wrong_end", "ends in the token 40"),
    "only padding": ("byte", [added("targets", after=[0, 1])], "wrong_cut", "but what ends an answer"),
    "another text": ("byte", [added("targets", before=[40], after=[1])], "wrong_start", "at '%yes'"),
    "one beginning": ("lossy", [added("inputs", before=[3]), seqio.preprocessors.append_eos], None, ""),
    "two beginnings": (
        "lossy",
        [added("inputs", before=[3]), added("targets", before=[3], after=[1])],
        "wrong_begin",
        "(id 3) stands in it 2 times",
    ),
    "a beginning that the row has": (
        "begun",
        [added("inputs", before=[3]), added("targets", after=[1])],
        "wrong_begin",
        "(id 3) stands in it once, and the row begins with it",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_seqio_task_is_proved_too(vocabularies, stored, name):
    vocabulary, more, check, said = FOREIGN[name]
    said_targets = "" if name == "only padding" else "yes"
    if isinstance(vocabulary, str):
        from flan_jax.tasks import vocabularies as loading

        vocabulary = loading.load(vocabularies[vocabulary])

    def rows(split, shuffle_files, seed=None):
        return tf.data.Dataset.from_tensors({"inputs": "is it?", "targets": said_targets}).repeat(ROWS)

    features = {side: seqio.Feature(vocabulary, add_eos=side == "targets") for side in ("inputs", "targets")}
    seqio.TaskRegistry.add(
        "t",
        source=seqio.FunctionDataSource(rows, splits=["train"]),
        preprocessors=[seqio.preprocessors.tokenize, *more],
        output_features=features,
    )
    manifest = stored()
    if check is None:
        return check_proved(manifest)
    assert manifest["count"] == 0 and manifest["tally"][check] == ROWS, manifest
    assert manifest["wrong"][0].startswith("Task 't', example 'train:0': ") and said in manifest["wrong"][0]


def test_a_seqio_task_of_spans_or_without_an_end_is_judged_by_what_it_says(stored):
    """Targets that stand for spans are not their text, and where no end is wanted none is missed."""
    vocabulary = seqio.ByteVocabulary(extra_ids=10)

    def rows(split, shuffle_files, seed=None):
        return tf.data.Dataset.from_tensors({"inputs": "is it?", "targets": "yes"}).repeat(ROWS)

    seqio.TaskRegistry.add(
        "t",
        source=seqio.FunctionDataSource(rows, splits=["train"]),
        preprocessors=[seqio.preprocessors.tokenize, added("targets", before=[vocabulary.vocab_size - 1])],
        output_features={"targets": seqio.Feature(vocabulary, add_eos=False)},
    )
    check_proved(stored())
    text = generator(lambda split: [{"text": "It is a fruit. " * 20}] * ROWS)
    SpanCorruption("spans", text, vocabulary=vocabulary).register()
    manifest = stored(task="spans")
    check_proved(manifest, manifest["count"])


def break_one(monkeypatch, *, draw=0, places=("rows:1",)):
    """Instructions whose answer lacks its end in one row of one draw."""
    whole = Variant.encoder

    def encoder(self, split, request):
        def change(one):
            wrong = request.draw == draw and one.id in places
            return dataclasses.replace(one, targets=one.targets[:-1]) if wrong else one

        return lambda rows: map(change, whole(self, split, request)(rows))

    monkeypatch.setattr(Variant, "encoder", encoder)


def resolved(tmp_path, **how):
    request = Request("t", "train", LENGTHS, 0, str(tmp_path / "stores"), **how)
    return resolve_in_child(setup=WorkerSetup(), progress=lambda **_: None, request=request)


def test_a_wrong_one_is_left_out_and_told_or_refused_by_choice(vocabularies, tmp_path, monkeypatch):
    question(vocabularies["exact"], tmp_path)
    break_one(monkeypatch)
    refused = (
        r"Task 't', example 'rows:1' \(\S+rows.jsonl:2\): .*ends in the token \d+, which ends no answer "
        r"\(those that do: 1\)\. Mend the task.*Data.on_wrong_mask = 'drop'"
    )
    with pytest.raises(UserError, match=refused):
        resolved(tmp_path, on_wrong_mask="refuse")
    found = resolved(tmp_path)
    (task,) = found["tasks"]
    assert task["count"] == task["tally"]["proved"] == ROWS - 1 and task["tally"]["wrong_end"] == 1
    assert len(found["notes"]) == 1 and "1 example left out (1 without an end); the first: Task" in found["notes"][0]
    with pytest.raises(UserError, match=refused):  # of a store that a run wrote which left them out
        resolved(tmp_path, on_wrong_mask="refuse")


def test_a_task_of_which_all_are_wrong_ends_the_run(vocabularies, tmp_path, monkeypatch):
    question(vocabularies["exact"], tmp_path)
    break_one(monkeypatch, places=("rows:0", "rows:1", "rows:2"))
    told = r"'t' has no examples.*3 without an end.*Task 't', example 'rows:0'.*Mend the task.*or take it out of 't'"
    with pytest.raises(UserError, match=told):
        resolved(tmp_path)


def test_nothing_that_is_scored_is_left_out(vocabularies, stored, tmp_path, monkeypatch):
    """Its references are told in the order of all."""
    question(vocabularies["exact"], tmp_path)
    break_one(monkeypatch)
    manifest = stored(limit=ROWS)
    assert manifest["count"] == manifest["tally"]["kept"] == ROWS and manifest["tally"]["wrong_end"] == 1


def test_a_later_draw_keeps_the_first_ones_example_where_its_own_is_wrong(vocabularies, tmp_path, monkeypatch):
    question(vocabularies["exact"], tmp_path)
    break_one(monkeypatch, draw=1)
    request = Request("t", "train", LENGTHS, 0, str(tmp_path))
    for draw in (0, 1):
        job = Job("t", str(tmp_path), "", draw)
        manifest = finish_store(job, write_part(job, 0, request).parts, request)
        assert manifest["count"] == ROWS and manifest["tally"]["wrong_end"] == draw
    ends = [stores.Store(job.target)[index].targets[-1] for index in range(ROWS)]
    assert ends == [1] * ROWS
