import json

from flan_jax.tasks import messages
from flan_jax.tasks.examples import examples


def test_what_is_learnt_is_chosen_where_the_file_is_named(tmp_path, model):
    said = [
        {"from": role, "value": text} for role, text in (("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d"))
    ]
    said[3]["value"] = "<think>hm</think>d"
    (tmp_path / "talk.json").write_text(json.dumps([{"talk": said}]))
    choices = {"all": {}, "last": {"loss_on": "last"}, "thought": {"thinking": "left_out"}, "each": {"each_turn": True}}
    found = {}
    for name, choice in choices.items():
        messages(tmp_path / "talk.json", name, field="talk", vocabulary=model, **choice).register()
        found[name] = [one.learnt for one in examples(name, "train", {"inputs": None, "targets": None})]
    thought = "<think>hm</think>d"
    assert found == {
        "all": [("b", thought)],
        "last": [(thought,)],
        "thought": [("b", "d")],
        "each": [("b",), (thought,)],
    }
