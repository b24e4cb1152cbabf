import shutil

import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import vocabularies
from flan_jax.tasks.shared_vocabulary import shared
from tests.tokenizer_folders import byte_level

BYTES = seqio.ByteVocabulary()


def foreign(name, inputs, targets):
    """A task of other code, of which nothing but the features is looked at."""
    features = {"targets": seqio.Feature(targets)} | ({} if inputs is None else {"inputs": seqio.Feature(inputs)})
    source = seqio.FunctionDataSource(lambda split, shuffle_files: tf.data.Dataset.range(1), splits=["train"])
    seqio.TaskRegistry.add(name, source=source, preprocessors=[], output_features=features)
    return name


def test_another_content_is_refused_with_the_tasks_and_their_vocabularies(fruits, model):
    names = []
    for number in range(5):
        fruits(name=f"mine_{number}").register()
        names.append(f"mine_{number}")
    names += [foreign("bytes", None, BYTES), foreign("more_bytes", BYTES, seqio.ByteVocabulary(extra_ids=7))]
    with pytest.raises(UserError) as fault:
        shared(names, "mixed")
    for said in (
        "'mixed' has 3: ",
        f"inputs and targets of 'mine_0', 'mine_1', 'mine_2' and 2 more have the sentencepiece vocabulary {model} "
        "of 500 ids, 100 of them extra ids",
        "inputs and targets of 'bytes' and 'more_bytes' have the byte vocabulary of 259 ids (",
        "targets of 'more_bytes' have the byte vocabulary of 266 ids, 7 of them extra ids",
    ):
        assert said in str(fault.value)


def test_a_model_of_other_pieces_at_a_path_of_the_same_name_is_another(tmp_path, fruits, model):
    (tmp_path / "a").mkdir()
    vocabularies.train_sentencepiece(["one plum and a stone"] * 50, 290, tmp_path / "a" / "small.model")
    fruits(name="one").register()
    fruits(name="two", vocabulary=str(tmp_path / "a" / "small.model")).register()
    with pytest.raises(UserError, match="'one' have .*small.model of 500 ids.*'two' have .*small.model of 390 ids"):
        shared(["one", "two"], "mixed")


def test_equal_content_at_another_path_or_in_another_object_is_the_same(tmp_path, fruits, model):
    shutil.copy(model, tmp_path / "copied.model")
    fruits(name="one").register()
    fruits(name="two", vocabulary=str(tmp_path / "copied.model")).register()
    theirs = seqio.SentencePieceVocabulary(model, extra_ids=100)
    described, files = shared(["one", "two", foreign("theirs", theirs, theirs)], "mixed")
    assert described == vocabularies.describe(model) and files == sorted([model, str(tmp_path / "copied.model")])

    used = seqio.ByteVocabulary()
    used.decode(used.encode("used before"))
    assert shared([foreign("new", BYTES, BYTES), foreign("used", used, used)], "bytes")[0]["size"] == 259

    folders = [byte_level(tmp_path / "a"), tmp_path / "b"]
    shutil.copytree(*folders)
    for folder in folders:
        fruits(name=folder.name, vocabulary=str(folder)).register()
    assert shared(["a", "b"], "folders")[0]["kind"] == "tokenizers"


def test_inputs_may_be_ids_made_elsewhere_but_not_of_another_vocabulary():
    ids = seqio.PassThroughVocabulary(259)
    assert shared([foreign("made_elsewhere", ids, BYTES)], "one")[0]["kind"] == "byte"
    for name, inputs in (("apart", seqio.ByteVocabulary(extra_ids=7)), ("too_many", seqio.PassThroughVocabulary(300))):
        with pytest.raises(UserError, match=f"targets of '{name}' have the byte .*; inputs of '{name}' have the "):
            shared([foreign(name, inputs, BYTES)], name)
