import json

import datasets
import pytest
import tensorflow_datasets

from flan_jax.errors import UserError
from flan_jax.tasks import Corpus, Hub, InstructionTask
from flan_jax.tasks.examples import examples, fingerprint, only_sample
from flan_jax.tasks.sources import as_source, corpus, tfds_source
from flan_jax.tasks.sources.source import Unavailable

SPLITS = {"train": "train[:-2]", "validation": "train[-2:]", "test": "validation"}
SAMPLE = {"text": "What is a plum?", "label-coarse": 1, "label-fine": 3}


def from_hub(row):
    return {"text": row["question"], "label-coarse": row["kind"]}


@pytest.fixture(autouse=True)
def own_run():
    """Each test says itself where corpora are read from."""
    yield
    corpus.use(corpus.RunCorpora())


def trec(hub=None, **fields):
    return Corpus("trec", "trec:1.0.0", SPLITS, {"train": 10, "validation": 4}, SAMPLE, hub, **fields)


def write(folder, rows, split="train"):
    folder.mkdir(exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_counts_are_declared_and_nothing_is_read():
    source = as_source(trec())
    assert [source.num_rows(split) for split in source.splits] == [8, 2, 4]
    assert not source.is_at_hand


def test_the_run_chooses_tfds_files_or_the_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_source, "_is_offline", lambda: False)  # mocked data are not downloaded
    with tensorflow_datasets.testing.mock_data(num_examples=3, data_dir=str(tmp_path)):
        assert set(next(as_source(trec()).rows("train"))[1]) == {"text", "label-coarse", "label-fine"}
    write(tmp_path / "trec", [SAMPLE])
    corpus.use(corpus.RunCorpora(f"{tmp_path}/{{corpus}}/{{split}}*.jsonl"))
    assert [row for _, row in as_source(trec()).rows("train")] == [SAMPLE]
    saved = tmp_path / "hub"
    rows = [{"question": f"q{number}", "kind": number} for number in range(5)]
    datasets.DatasetDict({"training": datasets.Dataset.from_list(rows)}).save_to_disk(saved)
    corpus.use(corpus.RunCorpora("hugging_face"))
    hub = Hub(str(saved), splits={"train": "training"}, row=from_hub)
    source = as_source(Corpus("trec", "trec:1.0.0", {"train": "train[1:]"}, {"train": 10}, SAMPLE, hub))
    assert [row["text"] for _, row in source.rows("train")] == ["q1", "q2", "q3", "q4"]


def test_files_may_look_as_the_hub_has_them(tmp_path):
    write(tmp_path, [{"question": "Why?", "kind": 2}])
    corpus.use(corpus.RunCorpora({"trec": f"hugging_face:{tmp_path}/{{split}}.jsonl", "*": "tfds"}))
    assert next(as_source(trec(Hub("trec", row=from_hub))).rows("train"))[1] == {"text": "Why?", "label-coarse": 2}
    assert as_source(Corpus("other", "trec:1.0.0", SPLITS, {}, SAMPLE)).inner.name == "trec:1.0.0"


def test_rows_that_lie_sorted_on_the_hub_are_read_in_a_drawn_order_that_stays(tmp_path):
    rows = [{"text": str(number), "label-coarse": number // 50} for number in range(100)]
    datasets.DatasetDict({"train": datasets.Dataset.from_list(rows)}).save_to_disk(tmp_path / "sorted")
    corpus.use(corpus.RunCorpora("hugging_face"))
    declared = lambda: Corpus(
        "trec",
        "trec:1.0.0",
        {"train": "train[:20]"},
        {"train": 100},
        SAMPLE,
        Hub(str(tmp_path / "sorted"), is_sorted=True),
    )
    read = [row["text"] for _, row in as_source(declared()).rows("train")]
    assert len(read) == 20 and 4 < sum(int(text) < 50 for text in read) < 16
    assert read == [row["text"] for _, row in as_source(declared()).rows("train")]


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (
            "/nowhere/{split}.jsonl",
            r"corpus 'trec' cannot be had from /nowhere/.* No file matches '/nowhere/train.jsonl'",
        ),
        ("hugging_face", "corpus 'trec' has no copy on the hub that is known; set Data.corpora"),
        ("files/train.jsonl", r"'files/train.jsonl' for corpus 'trec'; it is 'tfds', 'hugging_face', or a pattern"),
        ("files/{split}.xml", r"a pattern of files such as .*\.parquet"),
    ],
)
def test_a_place_that_will_not_do_is_told_with_the_setting(place, said):
    corpus.use(corpus.RunCorpora(place))
    with pytest.raises(UserError, match=said):
        list(as_source(trec()).rows("train"))


def test_what_is_gone_is_not_recommended(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(corpus.TfdsSource, "_builder", property(lambda self: (_ for _ in ()).throw(Unavailable("No."))))
    with pytest.raises(Unavailable, match=r"Data.corpora .*: \.\.\.\}\) to 'hugging_face' or a pattern of files, or"):
        as_source(trec(Hub("trec"))).check("train")
    for other in (trec(), trec(Hub("trec"), gone=("hugging_face",))):
        with pytest.raises(Unavailable, match=r"to a pattern of files, or Data.on_missing_corpus='skip' to do without"):
            as_source(other).check("train")


def test_a_corpus_that_only_its_users_have_is_cut_from_its_files_and_says_how_to_get_them(tmp_path):
    own = Corpus("own", splits={"train": "train[1:]", "validation": "train[:1]"}, get="own.json of example.org")
    assert not as_source(own).is_at_hand and as_source(own).num_rows("train") is None
    with pytest.raises(Unavailable, match=r"corpus 'own' .* to a pattern of files \(own.json of example.org\), or"):
        as_source(own).check("train")
    (tmp_path / "own.json").write_text(json.dumps([{"n": 0}, {"n": 1}, {"n": 2}]))
    corpus.use(corpus.RunCorpora({"own": str(tmp_path / "own.json")}))
    found = as_source(own)
    assert found.is_at_hand and found.num_rows("train") == 2
    assert [row["n"] for split in ("validation", "train") for _, row in found.rows(split)] == [0, 1, 2]


def test_where_a_corpus_lies_changes_no_fingerprint_but_what_it_is_does(tmp_path, model):
    found = []
    for number, folder in enumerate((tmp_path / "here", tmp_path / "there")):
        write(folder, [SAMPLE])
        (folder / "train.jsonl").touch()
        corpus.use(corpus.RunCorpora(f"{folder}/{{split}}.jsonl"))
        source = as_source(Corpus("trec", "trec:1.0.0", {"train": "train"}, {"train": number}, SAMPLE))
        found.append(corpus_shape(source))
    assert found[0] == found[1]
    corpus.use(corpus.RunCorpora())
    assert corpus_shape(as_source(trec())) != found[0]


def corpus_shape(source):
    from flan_jax.tasks import fingerprints, sources

    return fingerprints.of(sources.besides_files(source))


def test_a_task_whose_corpus_is_not_at_hand_shows_its_sample(tmp_path, monkeypatch, model):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    InstructionTask("kinds", trec(), ("{text}",), answer="label-coarse", few_shot=(2,), vocabulary=model).register()
    assert only_sample("kinds") and len(fingerprint("kinds")) == 32
    (one,) = examples("kinds", "train", {}, from_sample=True)
    assert (one.inputs_text, one.targets_text) == ("What is a plum?", "1")
    (one,) = examples("kinds.2_shot", "train", {}, from_sample=True)
    assert one.inputs_text.count("What is a plum?\n1\n\n") == 2


def test_the_hubs_own_parquet_copy_is_read_by_configuration_and_split(tmp_path):
    """Laid out as the hub's branch is, whose splits say no number of rows."""
    for split, count in (("train", 10), ("validation", 4)):
        for configuration in ("fine", "coarse"):
            folder = tmp_path / "copy" / configuration / split
            folder.mkdir(parents=True)
            rows = [{"text": f"{configuration} {number}", "label-coarse": 0} for number in range(count)]
            datasets.Dataset.from_list(rows).to_parquet(folder / "0000.parquet")
    corpus.use(corpus.RunCorpora("hugging_face"))
    source = as_source(trec(Hub(str(tmp_path / "copy"), "coarse")))
    assert [row["text"] for _, row in source.rows("train")] == [f"coarse {number}" for number in range(8)]
    assert [row["text"] for _, row in source.rows("validation")] == ["coarse 8", "coarse 9"]
    assert [row["text"] for _, row in source.rows("test")] == [f"coarse {number}" for number in range(4)]
