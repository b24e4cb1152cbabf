import pytest

from flan_jax.errors import UserError
from flan_jax.files.text_files import read_text

ROWS = '{"inputs": "Ein Gruß?"}\n{"inputs": "Größe"}\n'


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (ROWS.encode("utf-16"), "is text in UTF-16, wanted UTF-8"),
        (ROWS.encode("utf-16-le"), "is text in UTF-16"),
        (ROWS.encode("utf-16-be"), "is text in UTF-16"),
        (ROWS.encode("utf-32"), "is text in UTF-32"),
        (ROWS.encode("latin-1"), "is not UTF-8 .byte 0xdf in line 1.; wanted a JSONL file, saved as UTF-8"),
        (b"\x7fELF\x02\x01\x00\x00\xff\x8b", "is no text .byte 0xff"),
        (b"{}\nab\0cd", "is no text: line 2 holds null bytes"),
    ],
)
def test_what_is_not_utf_8_is_told_by_its_name(tmp_path, raw, words):
    (tmp_path / "rows.jsonl").write_bytes(raw)
    with pytest.raises(UserError, match=f"rows.jsonl {words}"):
        read_text(tmp_path / "rows.jsonl", "a JSONL file")


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.gin").write_bytes("STEPS = 3\n".encode("utf-8-sig"))
    assert read_text(tmp_path / "a.gin", "a gin file") == "STEPS = 3\n"


@pytest.mark.parametrize(("name", "words"), [("", "is a folder"), ("none", "there is no file"), ("a\0b", "cannot be")])
def test_what_is_no_file_is_told(tmp_path, name, words):
    with pytest.raises(UserError, match=words):
        read_text(tmp_path / name, "a gin file")
