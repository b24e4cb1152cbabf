import json

import pytest

from flan_jax.errors import UserError
from flan_jax.models.hugging_face import originals


@pytest.mark.parametrize(
    ("named", "ends", "wanted"),
    [(1, [1], 1), ([1, 106], [1, 106], [1, 106]), (0, [0, 2], [0, 2]), ([7, 8], [8], [7, 8]), (None, [2], 2)],
)
def test_an_exported_model_stops_where_its_answers_ended_in_training(tmp_path, named, ends, wanted):
    before = json.dumps({"top_k": 5} | ({} if named is None else {"eos_token_id": named}), indent=1)
    (tmp_path / originals.GENERATION).write_text(before)
    originals.add_ends(tmp_path, ends)
    after = (tmp_path / originals.GENERATION).read_text()
    assert json.loads(after) == {"top_k": 5, "eos_token_id": wanted}
    assert (after == before) == (named == wanted)


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        ({"lm_head.weight": 3}, "lm_head.weight is 3, wanted F32, F16, BF16"),
        ({"a": "F32", "b": "float32"}, "b is 'float32', wanted F32"),
        ({"a": None}, "a is None, wanted F32"),
        ({}, "it names no tensor"),
    ],
)
def test_damaged_types_of_tensors_are_told(tmp_path, kept, told):
    assert originals.layout(tmp_path) is None
    (tmp_path / originals.KEPT).mkdir()
    (tmp_path / originals.KEPT / originals.LAYOUT).write_text(json.dumps(kept))
    with pytest.raises(UserError, match=f"tensors.json is damaged .{told}.*delete it"):
        originals.layout(tmp_path)
