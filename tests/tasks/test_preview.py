import json

import seqio

from flan_jax.tasks import ChatTask, SpanCorruption, generator
from flan_jax.tasks.examples import examples
from flan_jax.tasks.preview import preview

LENGTHS = {"inputs": 64, "targets": 32}


def test_what_is_shown_is_what_is_trained_on(fruits):
    fruits().register()
    shown = preview("fruits", "train", LENGTHS, num=3, seed=5)
    assert len(shown) == 3 and json.loads(json.dumps(shown)) == shown
    for one, example in zip(shown, examples("fruits", "train", LENGTHS, seed=5), strict=False):
        assert one["inputs"] == example.inputs.tolist() and one["inputs_text"] == example.inputs_text
        assert len(one["targets"]) == len(one["targets_pieces"]) == len(one["weights"])
        assert one["targets_pieces"][-1] == "</s>" and one["weights"] == [1.0] * len(one["targets"])
        assert one["options"] == ["fruit", "other"] and one["options"][one["answer"]] == one["targets_text"]
        assert len(one["inputs_pieces"]) == len(one["inputs"]) and "\u2581apple" in shown[0]["inputs_pieces"]


def test_chats_show_weights_and_corrupted_text_shows_sentinels(model):
    said = [{"role": role, "content": "so"} for role in ("user", "assistant") * 2]
    ChatTask("chat", generator(lambda split: [{"messages": said}]), vocabulary=model).register()
    (one,) = preview("chat", "train", LENGTHS)
    assert set(one["weights"]) == {0.0, 1.0} and one["options"] is None
    rows = generator(lambda split: [{"text": "the apple and the pear walk, one plum sings."}])
    SpanCorruption("spans", rows, model).register()
    (one,) = preview("spans", "train", LENGTHS)
    assert "<extra_id_0>" in one["inputs_text"] and one["targets_text"].startswith("<extra_id_0>")


def test_a_task_of_other_code(model):
    import tensorflow as tf

    def dataset(split, shuffle_files=False):
        return tf.data.Dataset.from_tensor_slices({"inputs": ["a b"], "targets": ["c"]})

    features = {
        "inputs": seqio.Feature(seqio.ByteVocabulary(), add_eos=False),
        "targets": seqio.Feature(seqio.SentencePieceVocabulary(model)),
    }
    seqio.TaskRegistry.add(
        "theirs",
        source=seqio.FunctionDataSource(dataset, splits=("train",)),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features=features,
    )
    (one,) = preview("theirs", "train", LENGTHS)
    assert (
        one["inputs_text"] == "a b" and one["inputs_pieces"] == ["a", " ", "b"] and one["targets_pieces"][-1] == "</s>"
    )
