"""Instruction tasks in a model's own form, and the run's vocabulary where a declaration names none."""

import json

import numpy as np
import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, InstructionTask, SpanCorruption, Tally, generator, run_form, task_from_file
from flan_jax.tasks.examples import examples, fingerprint, prompt_facts
from flan_jax.tasks.run_form import RunForm
from flan_jax.tasks.shared_vocabulary import shared
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests.golden_chats import TALKS, TEMPLATES, golden, write_folder
from tests.tokenizer_folders import byte_level, with_bos

LONG = {"inputs": None, "targets": None}
ROWS = [{"q": "Is plum a fruit?", "kind": "fruit"}, {"q": "And stone?", "kind": "thing"}]


@pytest.fixture(autouse=True)
def own_run(monkeypatch):
    """Each test is a run of its own."""
    monkeypatch.setattr(run_form, "_run", RunForm())


@pytest.fixture(scope="module")
def chatty(tmp_path_factory):
    return str(byte_level(tmp_path_factory.mktemp("folders") / "chatty"))


def declare(name="kinds", **changes):
    how = {
        "templates": ("{q} {options}",),
        "options": ("fruit", "thing"),
        "answer": "kind",
        "option_styles": ("dashes",),
        **changes,
    }
    return InstructionTask(name, generator(lambda split: ROWS), **how).register()


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_an_exchange_has_the_ids_of_transformers(tmp_path, name):
    folder = write_folder(tmp_path / "model", name)
    question, answer = (turn["content"] for turn in TALKS[0])
    rows = [{"q": question, "a": answer}]
    run_form.use(RunForm(str(folder)))
    InstructionTask("golden", generator(lambda split: rows), templates=("{q}",), answer="a").register()
    (one,) = examples("golden", "train", LONG)
    tokenizer, theirs = TokenizerFolder(folder), golden()["templates"][name][0]
    begin = [tokenizer.around[0]] if tokenizer.around[0] >= 0 else []
    begin = begin if theirs["whole"][: len(begin)] == begin else []
    ids = [*begin, *one.inputs.tolist(), *one.targets.tolist()]
    assert ids == theirs["whole"][: len(ids)] and one.weights is None
    assert "".join(tokenizer.pieces(theirs["whole"][len(ids) :])).strip() == ""


def test_options_and_exemplars_are_written_in_the_same_form(chatty):
    run_form.use(RunForm(chatty))
    declare(few_shot=(1,))
    tokenizer = TokenizerFolder(chatty)
    for one, row in zip(examples("kinds", "train", LONG), ROWS, strict=True):
        whole = "".join(tokenizer.pieces([*one.inputs, *one.targets]))
        asked = f"<|im_start|>user\n{row['q']} OPTIONS:\n- fruit\n- thing<|im_end|>\n<|im_start|>assistant\n"
        assert whole.endswith(f"{asked}{row['kind']}<|im_end|>")
        assert tokenizer.encode_rendered(whole)[0] == [*one.inputs, *one.targets]
        said = ["".join(tokenizer.pieces(option)) for option in one.options]
        assert said == ["fruit<|im_end|>", "thing<|im_end|>"] and np.array_equal(one.options[one.answer], one.targets)
    (first, _) = examples("kinds.1_shot", "train", LONG)
    assert "And stone? OPTIONS:\n- fruit\n- thing\nthing\n\nIs plum a fruit?" in "".join(tokenizer.pieces(first.inputs))
    assert prompt_facts("kinds")["form"] == "chat" and prompt_facts("kinds")["prompt_format"].endswith("assistant\n")


def test_what_is_cut_is_a_field_and_never_the_form(chatty):
    run_form.use(RunForm(chatty))
    rows = [{"text": "stone " * 40}]
    InstructionTask("long", generator(lambda split: rows), templates=("Name it: {text}",), answer="text").register()
    tokenizer, tally = TokenizerFolder(chatty), Tally()
    (one,) = examples("long", "train", {"inputs": 90, "targets": 7}, tally=tally)
    text = "".join(tokenizer.pieces(one.inputs))
    assert len(one.inputs) <= 90 and text.endswith("<|im_end|>\n<|im_start|>assistant\n") and "Name it: stone" in text
    assert len(one.targets) == 7 and one.targets[-1] == tokenizer.eos_id and tally.truncated == 1


def test_one_declaration_serves_every_model(tmp_path, chatty, model):
    """The same tasks with a chat model's vocabulary, a T5's and a SentencePiece model's."""
    declare()
    ChatTask("talk", generator(lambda split: [{"messages": TALKS[0]}])).register()
    t5 = str(with_bos(tmp_path / "t5", ends=True))
    marks = set()
    for run, forms, ends in (
        (RunForm(chatty), ("chat", "chat"), False),
        (RunForm(chatty, "plain"), ("plain", "roles"), False),
        (RunForm(t5), ("plain", "roles"), True),
        (RunForm(model), ("plain", "roles"), False),
    ):
        run_form.use(run)
        assert tuple(prompt_facts(name)["form"] for name in ("kinds", "talk")) == forms
        (one, _) = examples("kinds", "train", LONG)
        assert (one.inputs[-1] == 1) == ends and prompt_facts("kinds")["prompt_eos"] == ends
        assert "Is plum a fruit?" in one.inputs_text
        marks.add((fingerprint("kinds"), fingerprint("talk")))
    assert len(marks) == 4  # no store of one is taken for another's


def test_a_declared_vocabulary_stays_and_does_not_mix_with_the_runs(chatty, model):
    run_form.use(RunForm(chatty))
    declare("ours"), declare("insists", vocabulary=model)
    assert [prompt_facts(name)["form"] for name in ("ours", "insists")] == ["chat", "plain"]
    with pytest.raises(UserError, match="a model has one vocabulary, and 'both' has 2"):
        shared(["ours", "insists"], "both")


def test_a_run_that_knows_no_vocabulary_says_so(model):
    run_form.use(RunForm(None))
    declare("ours"), declare("insists", vocabulary=model)
    assert shared(["insists"], "m")[0]["path"] == model
    with pytest.raises(UserError, match="task 'ours' declares none; set VOCABULARY.*--vocabulary spiece.model"):
        shared(["insists", "ours"], "m")


def test_a_form_that_the_model_has_not_is_refused(model):
    run_form.use(RunForm(model, "chat"))
    declare()
    with pytest.raises(UserError, match="FORM is 'chat', but no chat template comes with the vocabulary .*small.model"):
        list(examples("kinds", "train", LONG))
    with pytest.raises(UserError, match="FORM is 'loud', wanted one of 'auto', 'plain', 'chat'"):
        run_form.use(RunForm(model, "loud"))


def test_text_objectives_stay_text(tmp_path, model):
    path = tmp_path / "prose.txt"
    path.write_text("The river meets the sea. " * 30)
    from flan_jax.tasks import text

    run_form.use(RunForm(model))
    SpanCorruption("prose", text(str(path))).register()
    assert prompt_facts("prose") == {"prompt_format": "{}", "prompt_eos": False, "form": "plain"}
    assert sum(len(one.targets) for one in examples("prose", "train", {"inputs": 32, "targets": 16}))


def test_a_file_is_read_in_the_runs_form(tmp_path, chatty):
    (tmp_path / "rows.jsonl").write_text(json.dumps({"prompt": "Is plum a fruit?", "completion": "It is."}) + "\n")
    task_from_file(tmp_path / "rows.jsonl", "mine").register()
    plain, chat = (
        (run_form.use(run), next(examples("mine", "train", LONG)))[1] for run in (RunForm(), RunForm(chatty))
    )
    assert plain.inputs_text == chat.inputs_text == "Is plum a fruit?"
    assert "".join(TokenizerFolder(chatty).pieces(chat.targets)) == "It is.<|im_end|>"
