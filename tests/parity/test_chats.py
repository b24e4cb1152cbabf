"""Tokenizers and chat templates beside transformers'; `python -m tests.parity.test_chats` writes the golden file."""

import json
import pathlib
import random
import tempfile
from typing import Any

import pytest
import transformers

from flan_jax.text.extended_tokenizer import Extension, extend
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests import golden_chats, tokenizer_folders
from tests.golden_chats import GOLDEN, TALKS, TEMPLATES, write_folder
from tests.parity import real_weights

_HARD = [
    "",
    " ",
    "  a\n\n b\t",
    "naïve café ẞ 👩‍👩‍👧 \u200b x",
    "a\r\nb",
    "e\u0301",
    "\ufeffbom",
    "\x00",
    "<|im_end|>",
    "a <eos><bos> b",
]


def random_texts(count: int) -> list[str]:
    """Texts of all scripts, blanks and names of special tokens."""
    drawn = random.Random(0)
    letters = [*map(chr, range(0x20, 0x3000)), *map(chr, range(0x1F300, 0x1F700)), *"\n\r\t" * 200, *" " * 2000]
    letters += ["<|im_end|>", "<|im_start|>", "<eos>", "</s>"] * 40
    return _HARD + ["".join(drawn.choices(letters, k=drawn.randrange(1, 60))) for _ in range(count)]


def compare(folder: pathlib.Path, count: int) -> None:
    """Ids, with the names of special tokens as text and as tokens, and texts back from ids."""
    theirs, ours, texts = (
        transformers.AutoTokenizer.from_pretrained(folder),
        TokenizerFolder(folder),
        random_texts(count),
    )
    plain = theirs(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    parsed = theirs(texts, add_special_tokens=False)["input_ids"]
    assert plain != parsed
    assert ours.encode(texts) == plain
    assert [ours.encode_rendered(text)[0] for text in texts] == parsed
    assert [ours.decode(ids) for ids in parsed] == theirs.batch_decode(parsed, skip_special_tokens=True)


@pytest.mark.parametrize("make", [tokenizer_folders.byte_level, tokenizer_folders.with_bos])
def test_ids_are_transformers(tmp_path, make):
    compare(make(tmp_path / "made"), 500)


@pytest.mark.parametrize("make", [tokenizer_folders.byte_level, tokenizer_folders.with_bos])
def test_ids_with_tokens_of_a_runs_own_are_transformers(tmp_path, make):
    added = extend(make(tmp_path / "made"), Extension(("<eos>", "<|im_end|>", " 4")))
    added.write(tmp_path / "out")
    compare(tmp_path / "out", 500)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert (
        theirs.convert_tokens_to_ids([*added.new]) == [*added.new.values()]
        and len(theirs) == max(added.new.values()) + 1
    )


@pytest.mark.parametrize("name", list(real_weights.SOURCES))
def test_ids_of_real_tokenizers_are_transformers(name):
    folder = real_weights.models_folder() / name
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: python -m tests.parity.real_weights makes it")
    compare(folder, 3000)


def test_the_golden_file_is_what_transformers_says(tmp_path):
    golden = golden_chats.golden()
    assert said(tmp_path) == golden["templates"]


def said(work: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
    """What transformers makes of every conversation in every template."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number, name in enumerate(TEMPLATES):
        tokenizer = transformers.AutoTokenizer.from_pretrained(write_folder(work / str(number), name))
        for talk in TALKS:
            first = next(i for i, turn in enumerate(talk) if turn["role"] == "assistant")
            marked = {"return_assistant_tokens_mask": True} if name == "marks" else {}
            whole = tokenizer.apply_chat_template(talk, tokenize=True, return_dict=True, **marked)
            before = tokenizer.apply_chat_template(
                talk[:first], tokenize=True, return_dict=False, add_generation_prompt=True
            )
            one = {"whole": whole["input_ids"], "before": before}
            found.setdefault(name, []).append(one | ({"learnt": whole["assistant_masks"]} if marked else {}))
    return found


def main() -> None:
    """Writes the golden file anew, new tokenizers included."""
    with tempfile.TemporaryDirectory() as work:
        made = {}
        for make in (tokenizer_folders.byte_level, tokenizer_folders.with_bos):
            folder = make(pathlib.Path(work) / make.__name__)
            made[make.__name__] = json.loads((folder / "tokenizer.json").read_text())
        GOLDEN.write_text(json.dumps({"tokenizers": made}))
        kept = {"transformers": transformers.__version__, "templates": said(pathlib.Path(work)), "tokenizers": made}
        GOLDEN.write_text(json.dumps(kept, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
