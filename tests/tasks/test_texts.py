import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, PrefixLanguageModel, generator
from flan_jax.tasks.texts import texts


@pytest.fixture
def unlearnt(tmp_path):
    return str(tmp_path / "not_yet.model")


def test_no_vocabulary_is_needed(fruits, unlearnt):
    fruits(vocabulary=unlearnt, few_shot=(1,)).register()
    found = list(texts("fruits", "train", limit=2))
    assert "apple" in found[0] and found[1] == "fruit" and len(found) == 4
    assert len(list(texts("fruits.1_shot", "train"))) == 80


def test_chats_and_passages(unlearnt):
    said = [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}]
    rows = [{"messages": said, "body": "a passage"}, {"messages": "none", "body": None}]
    source = generator(lambda split: rows)
    ChatTask("chat", source, vocabulary=unlearnt).register()
    PrefixLanguageModel("lm", source, vocabulary=unlearnt, field="body").register()
    for name, expected in (("chat", ["User: one\nAssistant:", "two"]), ("lm", ["a passage"])):
        assert list(texts(name, "train", on_bad_row="skip")) == expected
        assert list(texts(name, "train", limit=1)) == expected
        with pytest.raises(UserError, match="row 1 of"):
            list(texts(name, "train"))


def test_tasks_of_other_code_tell_theirs():
    def dataset(split, shuffle_files=False):
        return tf.data.Dataset.from_tensor_slices({"targets": ["yes", "no"]})

    seqio.TaskRegistry.add(
        "theirs",
        source=seqio.FunctionDataSource(dataset, splits=("train",)),
        preprocessors=[seqio.preprocessors.tokenize],
        output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
    )
    assert list(texts("theirs", "train")) == ["yes", "no"]
