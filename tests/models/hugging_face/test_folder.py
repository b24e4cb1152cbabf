"""What is wrong with a folder, all of it in one sentence, before anything is loaded."""

import json

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from flan_jax.errors import UserError
from flan_jax.models.hugging_face import is_folder, read_folder
from tests.models.hugging_face.written import CONFIGS, D, V, shapes_of, tensors_of, write


def check_refused(folder, *words: str) -> None:
    with pytest.raises(UserError) as told:
        read_folder(folder)
    for word in words:
        assert word in str(told.value), told.value


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_tensor_of_a_folder_has_its_place(kind, tmp_path):
    found = read_folder(write(tmp_path, kind))
    assert set(found.tensors) == set(shapes_of(kind)) and is_folder(tmp_path)


def test_no_config(tmp_path):
    check_refused(tmp_path / "absent", "is no folder")
    (write(tmp_path) / "config.json").unlink()
    check_refused(tmp_path, "has no config.json")
    assert is_folder(tmp_path)  # it is meant as one
    (tmp_path / "config.json").write_text("{")
    check_refused(tmp_path, "cannot be read as JSON")


def test_tensors_that_are_missing_left_over_and_misshapen_are_told_at_once(tmp_path):
    tensors = tensors_of("llama")
    del tensors["model.layers.1.mlp.up_proj.weight"], tensors["model.norm.weight"]
    tensors["model.layers.0.self_attn.q_proj.bias"] = np.zeros(16, np.float32)
    tensors["lm_head.weight"] = np.zeros((V + 1, D), np.float32)
    tensors["model.layers.0.mlp.down_proj.weight"] = tensors["model.layers.0.mlp.down_proj.weight"].astype(np.int8)
    write(tmp_path, tensors=tensors)
    check_refused(
        tmp_path,
        "2 tensors are missing: model.layers.1.mlp.up_proj.weight, model.norm.weight",
        "1 tensor is unexpected: model.layers.0.self_attn.q_proj.bias",
        f"lm_head.weight is [{V + 1}, {D}], wanted [{V}, {D}]",
        "down_proj.weight has type I8, wanted F32, F16, BF16",
    )


def test_an_index_that_names_an_absent_file_and_a_file_cut_short(tmp_path):
    write(tmp_path, shards=3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    cut = tmp_path / "model-00003-of-00003.safetensors"
    cut.write_bytes(cut.read_bytes()[:-100])
    check_refused(tmp_path, "names model-00002-of-00003.safetensors, which is not there", "model-00003", "is damaged")


@pytest.mark.parametrize("length", [0, 5, 60, -1])
def test_a_truncated_file(length, tmp_path):
    path = write(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    check_refused(tmp_path, "model.safetensors is damaged")


def test_a_header_of_nonsense(tmp_path):
    path = write(tmp_path) / "model.safetensors"
    for header in (b"[1, 2]", b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}', b'{"a": 1}', b'{"a"'):
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
        check_refused(tmp_path, "its header cannot be read")
    path.unlink()
    check_refused(tmp_path, "neither model.safetensors nor")
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    check_refused(tmp_path, "neither model.safetensors nor")


def test_a_pickle_is_refused_with_the_way_to_convert_it(tmp_path):
    (write(tmp_path, "t5") / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    check_refused(tmp_path, "pytorch_model.bin is a pickle", "AutoModelForSeq2SeqLM", "save_pretrained")


def test_a_tokenizer_larger_than_the_embedding(tmp_path):
    write(tmp_path)
    added = [{"id": V, "content": "<extra>", "special": False}, {"id": V + 7, "content": "<image>", "special": True}]
    tokenizer = {"model": {"type": "BPE", "vocab": {"a": 0, "b": V - 1}}, "added_tokens": added}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    check_refused(tmp_path, f"tokenizer.json has ids up to {V}, the embedding has {V} rows")
    tokenizer["added_tokens"] = added[1:]  # nobody types an image
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    read_folder(tmp_path)


def test_a_sentencepiece_model_larger_than_the_embedding(tmp_path):
    import shutil

    from flan_jax.mixtures import __file__ as here

    starter = here.replace("__init__.py", "starter/starter.model")
    shutil.copy(starter, write(tmp_path, "t5") / "spiece.model")
    check_refused(tmp_path, "spiece.model has ids up to")
    (tmp_path / "spiece.model").write_bytes(b"no model")
    check_refused(tmp_path, "is no SentencePiece model")


def test_a_head_is_tied_where_the_files_hold_no_other(tmp_path):
    tensors = tensors_of("t5")
    assert read_folder(write(tmp_path / "none", "t5")).model.tie_embeddings
    copies = {name: tensors["shared.weight"] for name in ("lm_head.weight", "encoder.embed_tokens.weight")}
    assert read_folder(write(tmp_path / "copies", "t5", tensors | copies)).model.tie_embeddings
    other = {"lm_head.weight": tensors["shared.weight"] + 1}
    assert not read_folder(write(tmp_path / "other", "t5", tensors | other)).model.tie_embeddings
    untied = read_folder(write(tmp_path / "untied", "t5_1_1"))
    assert not untied.model.tie_embeddings and not untied.model.scale_logits


def test_tensors_that_nobody_reads_any_more_are_passed_over(tmp_path):
    tensors = tensors_of("llama") | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.ones(2, np.float32)}
    plain = read_folder(write(tmp_path / "plain"))
    assert read_folder(write(tmp_path / "older", tensors=tensors)).model == plain.model


TEMPLATE = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]}


@pytest.mark.parametrize(
    ("tokenizer", "settings", "begin"),
    [
        ({"post_processor": TEMPLATE | {"special_tokens": {"<s>": {"ids": [3]}}}}, {}, 3),
        (
            {"post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, TEMPLATE]}},
            {"add_bos_token": False},
            3,
        ),
        ({"post_processor": {"type": "ByteLevel"}}, {}, -1),
        ({}, {"add_bos_token": True, "bos_token": "<s>"}, 3),
        ({}, {"add_bos_token": False, "tokenizer_class": "LlamaTokenizer"}, -1),
        (None, {"tokenizer_class": "LlamaTokenizer"}, 1),  # of config.json: there is nothing else to ask
        (None, {"tokenizer_class": "Qwen2Tokenizer"}, -1),
        (None, {}, -1),
    ],
)
def test_the_token_before_every_text(tokenizer, settings, begin, tmp_path):
    write(tmp_path, config=CONFIGS["llama"] | {"bos_token_id": 1})
    if tokenizer is not None:
        for one in [tokenizer.get("post_processor", {}), *tokenizer.get("post_processor", {}).get("processors", [])]:
            if one.get("type") == "TemplateProcessing":
                one["special_tokens"] = {"<s>": {"ids": [3]}}
        added = [{"id": 3, "content": "<s>", "special": True}]
        whole = {"model": {"type": "BPE", "vocab": {"a": 0}}, "added_tokens": added, **tokenizer}
        (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    assert read_folder(tmp_path).model.begin_id == begin


def safetensors(header: object, size: int = 8) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(size)


def entry(start: int, end: int, shape: object = (1,), dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


DAMAGED = {
    "before the data": (safetensors({"a": entry(-4, 0), "b": entry(0, 8, [2])}), "a.data_offsets is [-4, 0]"),
    "end before begin": (safetensors({"a": entry(8, 4)}), "a.data_offsets is [8, 4], wanted where its bytes begin"),
    "overlap": (safetensors({"a": entry(0, 8, [2]), "b": entry(4, 8)}), "b overlaps with a"),
    "the same place": (safetensors({"a": entry(0, 8, [2]), "b": entry(0, 8, [2])}), "b overlaps with a"),
    "a gap": (safetensors({"a": entry(0, 4), "b": entry(8, 12)}, 12), "b begins 4 bytes behind the end of a"),
    "a gap in front": (safetensors({"a": entry(4, 8)}), "a begins 4 bytes behind the end of its header"),
    "beyond the file": (safetensors({"a": entry(0, 400, [100])}), "its header tells of"),
    "bytes left over": (safetensors({"a": entry(0, 4)}), "its header tells of"),
    "shape": (safetensors({"a": entry(0, 8, [3])}), "a: F32 [3] does not take 8 bytes"),
    "negative shape": (safetensors({"a": entry(0, 8, [-1, -2])}), "a.shape is [-1, -2], wanted a list of whole numb"),
    "shape of words": (safetensors({"a": entry(0, 8, ["2"])}), "a.shape is ['2']"),
    "shape of flags": (safetensors({"a": entry(0, 4, [True])}, 4), "a.shape is [True]"),
    "shape is a number": (safetensors({"a": entry(0, 8, 2)}), "a.shape is 2"),
    "fractions": (safetensors({"a": entry(0.0, 8.0, [2])}), "a.data_offsets is [0.0, 8.0]"),
    "three offsets": (safetensors({"a": {**entry(0, 8, [2]), "data_offsets": [0, 4, 8]}}), "a.data_offsets is [0, 4"),
    "no offsets": (safetensors({"a": {"dtype": "F32", "shape": [2]}}), "a has no data_offsets"),
    "no object": (safetensors({"a": 1}), "a is 1, wanted an object"),
    "unknown dtype": (safetensors({"a": entry(0, 8, [2], "F31")}), "a.dtype is 'F31', wanted one of F64"),
    "dtype is a list": (safetensors({"a": entry(0, 8, [2], ["F32"])}), "a.dtype is ['F32']"),
    "a key twice": (safetensors(b'{"a": {}, "a": {}}'), "'a' is in it twice"),
    "a list": (safetensors([1, 2]), "it is of type list, wanted an object"),
    "UTF-16": (safetensors('{"a": 1}'.encode("utf-16")), "its header cannot be read"),
    "deep": (safetensors(b'{"a": ' + b"[" * 200_000), "its header cannot be read"),
    "a header longer than the file": (b"\xff\xff" + bytes(10), "no whole header"),
    "nothing": (b"", "no whole header"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_safetensors(case, tmp_path):
    content, words = DAMAGED[case]
    path = write(tmp_path) / "model.safetensors"
    path.write_bytes(content)
    check_refused(tmp_path, "model.safetensors is damaged", words)
    with pytest.raises(SafetensorError):  # as the library that others read it with has it
        load_file(path)


def test_a_config_in_another_encoding(tmp_path):
    path = write(tmp_path) / "config.json"
    said = json.loads(path.read_text()) | {"_name_or_path": "modèle"}
    text = json.dumps(said, ensure_ascii=False)
    for encoding in ("utf-16", "utf-16-le", "utf-8-sig"):  # as PowerShell writes it
        path.write_bytes(text.encode(encoding))
        assert is_folder(tmp_path) and read_folder(tmp_path).raw["_name_or_path"] == "modèle"
    path.write_bytes(text.encode("latin-1"))
    check_refused(tmp_path, "config.json cannot be read as JSON", "fetch the folder anew")
    assert is_folder(tmp_path)  # or the file would be read as a run's
    path.write_text('{"a": ' + "[" * 200_000)
    check_refused(tmp_path, "config.json cannot be read as JSON")


def test_tokens_that_end_answers_must_be_ids(tmp_path):
    write(tmp_path, config=CONFIGS["llama"] | {"eos_token_id": ["</s>"]})
    check_refused(tmp_path, "eos_token_id is ['</s>'], wanted the id of a token or a list of such ids")
    (write(tmp_path) / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    (tmp_path / "model.safetensors").unlink()
    check_refused(tmp_path, "generation_config.json: eos_token_id is '</s>', wanted", "neither model.safetensors nor")


@pytest.mark.parametrize(
    ("weight_map", "words"),
    [
        ({"model.norm.weight": 5}, "weight_map is {'model.norm.weight': 5}, wanted an object with the file of each"),
        (["model.safetensors"], "weight_map is ['model.safetensors'], wanted an object"),
        ({}, "has no weight_map"),
        (None, "has no weight_map"),
        ({"model.norm.weight": "a\0b"}, "which cannot be read"),
        ({"model.norm.weight": "."}, "cannot be read: Is a directory"),
        ({"model.norm.weight": "x" * 300}, "cannot be read: File name too long"),
    ],
)
def test_an_index_that_makes_no_sense(weight_map, words, tmp_path):
    (write(tmp_path) / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map, "metadata": 1}))
    check_refused(tmp_path, words)


def test_of_a_tensor_in_several_files_the_one_of_the_index_is_read(tmp_path):
    tensors = tensors_of("llama")
    write(tmp_path, tensors=tensors, shards=2)
    other = {"model.norm.weight": tensors["model.norm.weight"] + 1}
    index = tmp_path / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    last = sorted(set(weight_map.values()))[-1]
    weight_map["model.norm.weight"] = "aaa.safetensors"
    save_file(other, tmp_path / "aaa.safetensors")
    save_file(load_file(tmp_path / last) | {"model.norm.weight": tensors["model.norm.weight"]}, tmp_path / last)
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert read_folder(tmp_path).tensors["model.norm.weight"].file.name == "aaa.safetensors"


def test_a_token_to_begin_with_that_the_embedding_has_not(tmp_path):
    write(tmp_path, "t5", config=CONFIGS["t5"] | {"decoder_start_token_id": V})
    check_refused(tmp_path, f"texts begin with the token {V}, the embedding has {V} rows")
    check_refused(write(tmp_path, "t5", config=CONFIGS["t5"] | {"dropout_rate": 2}), "config.json (t5)", "dropout_rate")
    read_folder(write(tmp_path / "llama", config=CONFIGS["llama"] | {"bos_token_id": []}))
