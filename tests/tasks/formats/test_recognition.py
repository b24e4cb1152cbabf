"""What is wrong with the file of `--data` is told from the file itself; of which formats, test_files.py says."""

import json
import subprocess
import sys

import pytest

from flan_jax.tasks.formats import openings

# Runs commands one after another; then says what was imported.
COMMANDS = """
import json, sys
from flan_jax import main
for argv in json.loads(sys.argv[1]):
    print("code", main.main(argv), file=sys.stderr)
print(sorted({"jax", "flax", "seqio", "tensorflow"} & set(sys.modules)))
"""


def test_a_file_that_cannot_be_used_is_told_before_anything_large_is_imported(tmp_path):
    rows = "".join(f"question {i},reply {i}\n" for i in range(12))
    (tmp_path / "table.csv").write_text("question,reply\n" + rows)
    # The column is there in the rows that would be held out, and in no others.
    early = [{"prompt": "a", "completion": "b"}] * 2 + [{"prompt": "a", "answer": "b"}] * 20
    (tmp_path / "early.jsonl").write_text("".join(json.dumps(row) + "\n" for row in early))
    (tmp_path / "single.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "words.log").write_text("no rows at all")
    table, fields = ["--data", "table.csv"], ["--fields", "inputs=question,targets=repli"]
    said = {
        "has no column 'repli' for targets, it has question, reply; did you mean 'reply'": ["train", *table, *fields],
        "has the columns question, reply, which are of no format known here": ["plan", *table],
        "early.jsonl has the columns prompt, answer": ["prepare", "--data", "early.jsonl"],
        "has one row, which cannot be trained on and held out at once": ["train", "--data", "single.jsonl"],
        "has 12 rows; --held_out 12 leaves none to train on": ["inspect", *table, *fields, "--held_out", "12"],
        "starts with b'n', so it is neither JSONL nor a JSON array": ["vocab", "--data", "words.log", "--output", "v"],
    }
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(list(said.values()))],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = done.stderr.splitlines()
    assert lines[1::2] == ["code 2"] * len(said), done.stderr
    for sentence, line in zip(said, lines[::2], strict=True):
        assert sentence in line
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("first", "is_headless"),
    [
        ("Is it so?\tno\tBecause it is not.", True),
        ('He said "go", did he?\t(a)\tHe says so himself, as told.', True),
        ("question\tanswer\trationale", False),
        ("inputs\ttargets", False),
        ("Is it so?\tno\twhy", False),  # the third may be a column's name
        ("One? Two?\tno", False),
        ("Is it so?\tno\tBecause: yes.\tmore", False),
    ],
)
def test_three_columns_of_sentences_are_no_header(tmp_path, first, is_headless):
    path = tmp_path / "some_train.tsv"
    path.write_text(f"{first}\n" + "a" + "\tb" * first.count("\t") + "\n", encoding="utf-8-sig")
    rows = [row for _, row in openings.source_of(str(path), 0, None).rows("train")]
    assert len(rows) == 1 + is_headless and ("rationale" in rows[0]) == (is_headless or "rationale" in first)
