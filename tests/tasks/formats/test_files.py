import gzip
import io
import json
import zipfile

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, Tally, task_from_file
from flan_jax.tasks.examples import examples
from flan_jax.tasks.tally import BadRow

LONG = {"inputs": None, "targets": None}


def read(task, tally=None, **how):
    task.register()
    return [(one.inputs_text, one.targets_text) for one in examples(task.name, "train", LONG, tally=tally, **how)]


def test_prompt_and_completion_lose_the_end_mark(write, model):
    rows = [
        {"prompt": "2 + 2 = {x}", "completion": " 4<|endoftext|>", "id": "same"},
        {"prompt": "empty", "completion": "<|endoftext|>", "id": "same"},
        {"prompt": "3", "completion": "three <|endoftext|>\n", "id": "same"},
    ]
    tally = Tally()
    found = read(task_from_file(write("t0.jsonl", *rows), "t", vocabulary=model), tally)
    assert found == [("2 + 2 = {x}", "4"), ("3", "three")]
    assert tally == Tally(read=3, kept=2, dropped=1)


def test_alpaca_with_and_without_input(write, model):
    rows = [
        {"instruction": "Greet.", "input": "", "output": "Hello"},
        {"instruction": "Add.", "input": "1 and 2", "output": "3"},
        {"instruction": "Name one.", "input": "Noinput", "output": "plum"},
        {"instruction": "Draw.", "input": "", "output": "<nooutput>"},
    ]
    tally = Tally()
    found = read(task_from_file(write("a.json", *rows), "t", vocabulary=model), tally)
    assert found == [("Greet.", "Hello"), ("Add.\n\n1 and 2", "3"), ("Name one.", "plum")] and tally.dropped == 1


def test_an_empty_cell_of_pandas_is_no_text(write, model):
    nan, plain = float("nan"), {"instruction": "Add.", "input": "1", "output": "3"}
    rows = [{**plain, "input": nan}, {**plain, "input": None}, {**plain, "output": nan}, {**plain, "input": {"a": 1}}]
    tally = Tally()
    found = read(task_from_file(write("a.jsonl", *rows), "t", vocabulary=model), tally, on_bad_row="skip")
    assert found == [("Add.", "3"), ("Add.", "3")] and tally.bad_rows == 2
    task_from_file(write("b.jsonl", rows[2]), "b", vocabulary=model).register()
    with pytest.raises(UserError, match=r"b.jsonl:1: the column 'output' is nan; text is wanted"):
        list(examples("b", "train", LONG))
    task_from_file(write("c.jsonl", rows[3]), "c", vocabulary=model).register()
    with pytest.raises(UserError, match=r"c.jsonl:1: the column 'input' is \{'a': 1\}; text is wanted"):
        list(examples("c", "train", LONG))


def test_the_alpaca_instruction_is_never_cut(write, model):
    instruction = "Say what the river is about."
    path = write("a.jsonl", {"instruction": instruction, "input": "the plum and " * 40, "output": "x"})
    task_from_file(path, "t", vocabulary=model).register()
    (one,) = examples("t", "train", {"inputs": 30, "targets": 8})
    assert one.inputs_text.startswith(instruction + "\n\nthe plum") and len(one.inputs) <= 30 < one.cut_tokens
    tally = Tally()
    assert not list(examples("t", "train", {"inputs": 6, "targets": 8}, tally=tally)) and tally.too_long == 1


def test_a_prompt_of_one_text_keeps_both_ends(write, model):
    prompt = "Read this. " + "the plum and " * 40 + "What is it about?"
    task_from_file(write("p.jsonl", {"prompt": prompt, "completion": "x"}), "t", vocabulary=model).register()
    (one,) = examples("t", "train", {"inputs": 30, "targets": 8})
    assert one.inputs_text.startswith("Read this.") and one.inputs_text.endswith("about?") and len(one.inputs) <= 30


def test_conversations_become_chats(write, model):
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    shared = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    for name, row in (("m", {"messages": said}), ("c", {"conversations": shared})):
        task = task_from_file(write(f"{name}.jsonl", row), name, vocabulary=model)
        assert isinstance(task, ChatTask) and read(task) == [("User: a\nAssistant:", "b")]


def test_csv_tsv_and_named_columns(tmp_path, model):
    (tmp_path / "a.csv").write_text("question,reply,n\nwhat?,that,1\n")
    with pytest.raises(UserError, match=r"columns question, reply, n, .*--fields inputs=COLUMN,targets=COLUMN"):
        task_from_file(tmp_path / "a.csv", "t")
    fields = {"inputs": "question", "targets": "reply"}
    assert read(task_from_file(tmp_path / "a.csv", "t", fields=fields, vocabulary=model)) == [("what?", "that")]
    (tmp_path / "b.tsv").write_text("inputs\ttargets\none\ttwo\n")
    assert read(task_from_file(tmp_path / "b.tsv", "u", vocabulary=model)) == [("one", "two")]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"inputs": "a"}, "inputs and targets are wanted"),
        ({"inputs": "prompt", "targets": "complete"}, "no column 'complete' for targets.*did you mean 'completion'"),
    ],
)
def test_faulty_fields(write, fields, message):
    with pytest.raises(UserError, match=message):
        task_from_file(write("a.jsonl", {"prompt": "x", "completion": "y"}), "t", fields=fields)


def test_faulty_files(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        task_from_file(tmp_path / "none.jsonl", "t")
    for name, content, message in (
        ("empty.jsonl", "", "no rows that can be read"),
        ("broken.jsonl", "{\n{\n", "no rows that can be read"),
        ("plain.log", "once upon", "neither JSONL nor a JSON array"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            task_from_file(tmp_path / name, "t")


ROW = b'{"prompt": "a", "completion": "b"}\n'


def zipped(**files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def test_rows_are_read_however_their_file_is_packed_and_encoded(tmp_path, model):
    """What a file holds says how to read it; its name only tells columns that are delimited from JSON."""
    rows, text = [("a{}", "é"), ("c", "d")], '{"prompt": "a{}", "completion": "é"}\n{"prompt": "c", "completion": "d"}'
    array, table = json.dumps([json.loads(line) for line in text.splitlines()]), "prompt\tcompletion\na{}\té\nc\td\n"
    files = {
        "mark.jsonl": text.encode("utf-8-sig"),
        "windows.jsonl": text.replace("\n", "\r\n").encode("utf-16"),
        "big.jsonl": b"\xfe\xff" + text.encode("utf-16-be"),
        "wide.json": array.encode("utf-32"),
        "array.jsonl": array.encode(),
        "lines.json": text.encode(),
        "pretty.jsonl": "\n".join(json.dumps(json.loads(line), indent=1) for line in text.splitlines()).encode(),
        "table.tsv": table.replace("\n", "\r\n").encode("utf-16"),
        "old.tsv": table.replace("\n", "\r").encode(),
        "plain.jsonl.gz": text.encode(),
        "packed.jsonl": gzip.compress(text.encode("utf-16")),
        "packed.zip": zipped(**{"core/": "", "core/data.jsonl": text, "__MACOSX/core/._data.jsonl": "x"}),
        "packed.tsv.zip": zipped(data=table.encode("utf-8-sig")),
    }
    for number, (name, content) in enumerate(files.items()):
        (tmp_path / name).write_bytes(content)
        assert read(task_from_file(tmp_path / name, f"t{number}", vocabulary=model)) == rows, name


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("latin.jsonl", '{"prompt": "é", "completion": "b"}'.encode("latin-1"), "latin.jsonl:1: not UTF-8; save the"),
        ("latin.csv", "prompt,completion\né,b\n".encode("latin-1"), "latin.csv, row 1: not UTF-8; save the file"),
        ("open.csv", b'prompt,completion\n"a,b\nc,d\n', "from line 2 to line 3; is a quote in line 2 left open"),
        ("cut.zip", zipped(a=ROW)[:60], "cut.zip cannot be read .*it is damaged"),
        ("two.zip", zipped(a=ROW, b=ROW), "two.zip is an archive of 2 files; unpack it"),
        ("odd.jsonl", ROW.decode().encode("utf-16")[:-1], "odd.jsonl cannot be read .*it is damaged"),
        ("cut.jsonl.gz", gzip.compress(ROW * 99)[:40], "cut.jsonl.gz cannot be read .*it is damaged"),
        ("half.jsonl", b'{"prompt": "\\ud83d", "completion": "b"}\n' * 2, "half.jsonl:1: a lone surrogate"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_as_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        task_from_file(tmp_path / name, "t", validation_rows=0)


def test_rows_that_are_held_out_leave_some_to_train_on(tmp_path):
    (tmp_path / "few.jsonl").write_bytes(ROW * 20)
    with pytest.raises(UserError, match="few.jsonl has 20 rows; --held_out 500 leaves none to train on"):
        task_from_file(tmp_path / "few.jsonl", "t", validation_rows=500)
    (tmp_path / "one.jsonl").write_bytes(ROW)
    with pytest.raises(UserError, match="one.jsonl has one row.*--held_out 0 trains on it"):
        task_from_file(tmp_path / "one.jsonl", "t", validation_rows=None)


def test_a_long_cell_and_a_lone_surrogate_among_others(tmp_path, model):
    (tmp_path / "long.csv").write_text("prompt,completion\n" + "x" * 140_000 + ",y\n")
    assert [len(inputs) for inputs, _ in read(task_from_file(tmp_path / "long.csv", "long", vocabulary=model))] == [
        140_000
    ]
    (tmp_path / "one_bad.jsonl").write_bytes(ROW + b'{"prompt": "\\udc80", "completion": "b"}\n' + ROW)
    tally = Tally()
    task = task_from_file(tmp_path / "one_bad.jsonl", "one_bad", vocabulary=model)
    assert len(read(task, tally, on_bad_row="skip")) == 2 and tally.bad_rows == 1
    with pytest.raises(UserError, match="one_bad.jsonl:2: a lone surrogate.*--on_bad_row skip"):
        list(examples("one_bad", "train", LONG))


def test_a_file_that_is_one_object_is_told_with_the_key_of_its_rows(tmp_path):
    whole = {"About": ["Name the dish."], "Dishes": [{"input": "Italy", "output": ["pizza"]}] * 3}
    (tmp_path / "lines.json").write_text(json.dumps(whole, indent=1))
    with pytest.raises(UserError, match=r"keys About, Dishes; .*json_array\(FILE, at='Dishes'\)"):
        task_from_file(tmp_path / "lines.json", "dishes")
    bench = {"canary": "keep out", "examples": {"1": {"cause": "rain", "effect": "floods"}}}
    (tmp_path / "bench.json").write_text(json.dumps(bench))
    with pytest.raises(UserError, match=r"columns canary, examples, .*at='examples'\); it holds a canary, by which"):
        task_from_file(tmp_path / "bench.json", "bench")


def test_a_table_without_a_header_is_told_so_in_one_short_sentence(tmp_path):
    (tmp_path / "plain.tsv").write_text("Is it so? " * 50 + "\tno\tbecause\nIs it?\tyes\twhy not\n")
    with pytest.raises(UserError, match="first line must name its columns") as told:
        task_from_file(tmp_path / "plain.tsv", "plain")
    assert len(str(told.value)) < 500


def test_a_row_without_the_column_or_with_null_is_bad(write, model):
    path = write(
        "a.jsonl", *[{"prompt": "x", "completion": "y"}] * 2, {"prompt": "x"}, {"prompt": None, "completion": "y"}
    )
    task = task_from_file(path, "t", vocabulary=model)
    with pytest.raises(UserError, match=r"a\.jsonl:3: there is no column 'completion', the row has prompt"):
        read(task)
    tally = Tally()
    assert len(read(task, tally, on_bad_row="skip")) == 2 and tally.bad_rows == 2
    with pytest.raises(BadRow, match="'prompt' is None"):
        task.preprocess({"prompt": None, "completion": "y"})


def test_the_first_rows_become_validation(write, model):
    path = write("a.jsonl", *({"prompt": str(n), "completion": "y"} for n in range(5)))
    task_from_file(path, "t", vocabulary=model, validation_rows=2).register()
    assert [one.inputs_text for one in examples("t", "validation", LONG)] == ["0", "1"]
    assert len(list(examples("t", "train", LONG))) == 3


@pytest.mark.parametrize(
    ("path", "rows", "dropped"),
    [
        ("t0_train_50k/trec_trec1.jsonl", 200, 200),
        ("self_instruct/gpt3_finetuning_data.jsonl", 335, 0),
        ("self_instruct/all_generated_instances.jsonl", 162, 0),
        ("alpaca/alpaca_gpt4_zh_sample.json", 715, 0),
    ],
)
def test_real_files(data, model, path, rows, dropped):
    task_from_file(data / path, "t", vocabulary=model).register()
    tally = Tally()
    found = list(examples("t", "train", {"inputs": 256, "targets": 64}, tally=tally))
    assert (tally.read, tally.dropped, tally.bad_rows) == (rows, dropped, 0)
    assert len(found) == tally.kept == rows - dropped - tally.too_long and tally.too_long < 5
    assert all(len(one.inputs) <= 256 and one.targets[-1] == 1 and len(one.targets) <= 64 for one in found)
    assert not any("endoftext" in one.targets_text for one in found)
