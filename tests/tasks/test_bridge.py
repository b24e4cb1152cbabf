"""What a user of seqio sees of our tasks."""

import seqio

from flan_jax.tasks import InstructionTask, generator

LENGTHS = {"inputs": 64, "targets": 8}


def test_a_task_tells_splits_sizes_and_features(fruits, model):
    fruits().register()
    task = seqio.TaskRegistry.get("fruits")
    assert tuple(task.splits) == ("train", "validation") and task.num_input_examples("train") == 40
    assert list(task.output_features) == ["inputs", "targets"]
    assert task.output_features["targets"].vocabulary == seqio.SentencePieceVocabulary(model, extra_ids=100)
    assert task.output_features["targets"].add_eos and not task.output_features["inputs"].add_eos


def test_shuffling_sharding_and_repeating_by_seqio(fruits):
    fruits().register()
    task = seqio.get_mixture_or_task("fruits")

    def ids(**how):
        return [one["id"].decode() for one in task.get_dataset(LENGTHS, "train", **how).as_numpy_iterator()]

    whole = ids(shuffle=False)
    shuffled = ids(shuffle=True, seed=3)
    assert sorted(shuffled) == sorted(whole) and shuffled != whole
    shards = [ids(shuffle=False, shard_info=seqio.ShardInfo(index, 3)) for index in range(3)]
    assert sorted(sum(shards, [])) == sorted(whole) and all(shards)
    assert len(ids(shuffle=False, num_epochs=2)) == 80


def test_seqios_evaluator_scores_with_all_references(model):
    rows = [{"q": "one", "answer": ["red", "green"]}, {"q": "two", "answer": "blue"}]
    InstructionTask(
        "t", generator(lambda split: rows), ("{q}?",), vocabulary=model, metrics=("exact_match",)
    ).register()
    task = seqio.get_mixture_or_task("t")
    found = list(task.get_dataset(LENGTHS, "validation", shuffle=False).as_numpy_iterator())
    targets = [task.postprocess_fn("unused", example=one, is_target=True) for one in found]
    assert targets == [["red", "green"], ["blue"]]
    predictions = [
        task.postprocess_fn(text, example=one, is_target=False)
        for text, one in zip((" Green.", "red"), found, strict=True)
    ]
    assert task.predict_metric_fns[0](targets, predictions) == {"exact_match": 50.0}
    assert len(task.metric_objs) == 1


def test_features_can_be_converted_for_both_architectures(fruits):
    fruits().register()
    for converter in (seqio.EncDecFeatureConverter(pack=True), seqio.PrefixLMFeatureConverter(pack=True)):
        dataset = seqio.get_dataset("fruits", LENGTHS, converter, dataset_split="train", shuffle=False)
        batch = next(dataset.as_numpy_iterator())
        assert batch["decoder_target_tokens"].any()
