import dataclasses

from flan_jax.data.part_shares import why_other
from flan_jax.data.request import Request
from flan_jax.data.resolve import Resolved, ResolvedTask
from flan_jax.data.stores import store as stores


def test_text_of_a_run_of_another_length_says_how_to_have_what_was(tmp_path):
    stores.write_manifest(tmp_path / "before" / "draw-0", [], {"budget": 1280})
    request = Request("web", "train", {"inputs": 8, "targets": 8}, 0, str(tmp_path), budget=2560)
    task = ResolvedTask("web", str(tmp_path / "now"), "f", 9, 1.0, None, 1, {}, {}, request=request)
    told = lambda folder, task=task: why_other({"web": str(folder)}, Resolved(request, (task,), {}))
    (said,) = told(tmp_path / "before")
    assert "of 'web' 1,280 trainable tokens were prepared" in said and "asks for 2,560" in said
    assert said.endswith("with Pretraining.tokens = 1280 it is as it was")
    # The same store, one that is gone, and a task that no run bounds.
    assert told(tmp_path / "now") == told(tmp_path / "gone") == []
    assert told(tmp_path / "before", dataclasses.replace(task, request=None)) == []
