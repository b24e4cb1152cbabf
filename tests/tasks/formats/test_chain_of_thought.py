import collections

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, chain_of_thought, task_from_file
from flan_jax.tasks.answer_metrics import answer_in, final_answer
from flan_jax.tasks.examples import describe, examples

ROW = {"question": "Two plums at 3?", "answer": "6", "rationale": "Two times 3 is 6."}
TSV = 'Is "it" so?\\nOptions:\\n- yes\\n- no\tno\tBecause "it" is not.\nWhat, 1 + 1?\t2\tOne and one is two.\n'


def kind(target):
    if target == "6":
        return "alone"
    assert answer_in(target) == "6", target
    return "first" if target.startswith("Two times 3") else "after" if "Two times 3" in target else "?"


@pytest.mark.parametrize(
    ("how", "shares"),
    [
        ({}, {"first": 1.0}),
        ({"rationale_first": False}, {"after": 1.0}),
        ({"rationale_first": 0.25}, {"first": 0.25, "after": 0.75}),
        ({"rationale_first": 0.5, "answer_alone": 0.2}, {"first": 0.4, "after": 0.4, "alone": 0.2}),
        ({"answer_alone": 1.0}, {"alone": 1.0}),
    ],
)
def test_shares_are_drawn_for_each_example(write, texts, model, how, shares):
    task = chain_of_thought(write("c.jsonl", *[ROW] * 600), "t", vocabulary=model, **how)
    found = texts(task)
    counts = collections.Counter(kind(target) for _, target in found)
    assert {name: count / 600 for name, count in counts.items()} == pytest.approx(shares, abs=0.06)
    assert len({prompt for prompt, _ in found}) >= 6 * len(shares)
    assert all("Two plums at 3?" in prompt and "6" not in prompt for prompt, _ in found)


def test_it_can_be_turned_round(write, texts, model):
    path = write("c.jsonl", *[ROW] * 60)
    chain_of_thought(path, "t", vocabulary=model).register()
    found = {(one.inputs_text, one.targets_text) for one in examples("t.inverted", "train", {})}
    assert len(found) == 6 and {target for _, target in found} == {ROW["rationale"], ROW["question"]}
    assert all("6" in prompt and target not in prompt for prompt, target in found)


def test_tsv_without_a_header_as_flan_has_it(tmp_path, texts, model):
    (tmp_path / "creak_train.tsv").write_text(TSV)
    tally = Tally()
    found = texts(task_from_file(tmp_path / "creak_train.tsv", "t", vocabulary=model), tally)
    assert 'Is "it" so?\nOptions:\n- yes\n- no' in found[0][0] and found[0][1].startswith('Because "it" is not.\n')
    assert [answer_in(target) for _, target in found] == ["no", "2"] and tally.read == 2
    named = chain_of_thought(str(tmp_path / "creak_train.tsv"), "u", vocabulary=model)
    assert len(texts(named)) == 2


def test_columns_are_known_by_several_names_or_named(write, tmp_path, texts, model):
    (tmp_path / "h.tsv").write_text("question\tanswer\texplanation\nTwo plums at 3?\t6\tTwo times 3 is 6.\n")
    other = {"source": ROW["question"], "target": ROW["answer"], "rationale": ROW["rationale"]}
    latex = {**ROW, "rationale": r"Two times 3 is 6. So \neq 5."}
    for name, path in {
        "tsv": tmp_path / "h.tsv",
        "json": write("c.json", other),
        "latex": write("l.jsonl", latex),
    }.items():
        ((prompt, target),) = texts(task_from_file(path, name, vocabulary=model))
        assert "Two plums at 3?" in prompt and kind(target) == "first" and "\neq" not in target
    named = write("n.jsonl", {"q": "Two plums at 3?", "a": 6, "why": "Two times 3 is 6."})
    with pytest.raises(UserError, match=r"columns q, a, why; a question, an answer and a rationale .*columns=\(QUEST"):
        chain_of_thought(str(named), "t")
    assert kind(texts(chain_of_thought(named, "n", columns=("q", "a", "why"), vocabulary=model))[0][1]) == "first"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"rationale_first": 1.5}, "rationale_first=1.5; a share from 0 to 1"),
        ({"answer_alone": "some"}, "answer_alone='some'; a share from 0 to 1"),
        ({"columns": ("q",)}, r"columns=\('q',\); the question's, the answer's and the rationale's"),
    ],
)
def test_faulty_arguments(write, how, said):
    with pytest.raises(UserError, match=said):
        chain_of_thought(write("c.jsonl", ROW), "t", **how)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({**ROW, "rationale": None}, "the column 'rationale' is None; text is wanted"),
        ({**ROW, "rationale": " "}, "the column 'rationale' is empty"),
        ({**ROW, "answer": ""}, "the column 'answer' is empty"),
        ({"question": "Why?", "answer": "6"}, "there is no column 'rationale', the row has question, answer"),
    ],
)
def test_bad_rows_are_told_with_file_row_and_field(write, texts, model, bad, said):
    task = chain_of_thought(write("c.jsonl", ROW, bad), "t", vocabulary=model)
    with pytest.raises(UserError, match=r"c\.jsonl:2: " + said):
        texts(task)
    tally = Tally()
    assert len(texts(task, tally, on_bad_row="skip")) == 1 and tally.bad_rows == 1


def test_it_is_scored_by_the_answer_alone(write, model):
    misleading = {**ROW, "rationale": "Answer: what is even.\nSo it is 6."}  # it begins as an answer does
    path = write("c.jsonl", ROW, {**ROW, "answer": ["6", "six"]}, {**ROW, "answer": "1,200"}, misleading)
    chain_of_thought(path, "t", vocabulary=model).register()
    assert describe("t")["metrics"] == ["final_answer"] and describe("t")["eval_kind"] == "generate"
    targets = [one.metric_target for one in examples("t", "train", {})]
    said = ["I think it is 5.\nThe answer is 6.0", "Answer: SIX\nand not 5", "$1200", "6"]
    assert final_answer(targets, said) == {"final_answer": 100.0}
    assert final_answer(targets, ["6 or so, the answer is 7", "5", "The answer is 1.2", ""]) == {"final_answer": 0.0}


@pytest.mark.parametrize("name", ["creak", "ecqa", "gsm8k", "strategyqa"])
def test_real_files(data, texts, model, name):
    path, tally = str(data / f"flan_cot/{name}_train.tsv"), Tally()
    task = task_from_file(path, name, vocabulary=model)
    found = texts(task, tally, limit=300)
    assert len(found) == 300 and (tally.bad_rows, tally.dropped) == (0, 0)
    answers = [line.split("\t")[1] for line in (data / path).read_text().splitlines()[:300]]
    assert [answer_in(target) for _, target in found] == [answer.strip().removesuffix(".") for answer in answers]
    assert not any("\\n" in prompt + target for prompt, target in found)
