"""The scores of Super-Natural Instructions beside the published arithmetic, written out anew from its definition."""

import json

import pytest
from rouge_score import rouge_scorer

from flan_jax.errors import UserError
from flan_jax.evaluation import cluster_scores
from flan_jax.tasks import metrics
from flan_jax.tasks.instruction_metrics import CrossLingual, super_ni

# (task, category, answers that are right, what a model said)
SAID = [
    ("t1", "misc", ["The cats were sitting.", "Cats sat"], "cats sat!"),
    ("t1", "misc", ["a b c d"], "A c d  e"),
    ("t1", "misc", ["running quickly"], "the runner runs quick"),
    ("t2", "misc", ["Yes."], "yes"),
    ("t2", "misc", ["No"], ""),
    ("t2", "misc", ["!"], "?"),  # both are nothing once punctuation is gone, and equal
    ("t2", "misc", ["the theory"], "theory"),  # articles count
    ("t3", "translation", ["Él vio dos gatos"], "Él vio gatos"),
    ("t3", "translation", ["猫が座った", "猫"], "猫が走った"),
]


def published(said, scorer):
    """Rouge-L's F1 and equality after lower case, without punctuation and superfluous blanks; the best reference of
    each; percentages over all, to four places."""
    cleaned = lambda text: " ".join(
        "".join(c for c in text.lower() if c not in "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~").split()
    )
    longest = [max(scorer.score(target=r, prediction=p)["rougeL"].fmeasure for r in right) for _, _, right, p in said]
    equal = [max(cleaned(r) == cleaned(p) for r in right) for _, _, right, p in said]
    return {"rougeL": round(100 * sum(longest) / len(said), 4), "exact_match": round(100 * sum(equal) / len(said), 4)}


def ours(said, metric=super_ni):
    return {k: round(v, 4) for k, v in metric([right for _, _, right, _ in said], [p for *_, p in said]).items()}


def test_a_tasks_figures_are_the_published_ones():
    stemmed = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    for task in ("t1", "t2", "t3"):
        of = [one for one in SAID if one[0] == task]
        assert ours(of) == published(of, stemmed)
    assert ours(SAID)["exact_match"] == pytest.approx(100 * 3 / 9, abs=1e-4)
    assert metrics.function("super_ni") is super_ni and metrics.unit_of(super_ni) == "%"
    assert list(super_ni(["a"], ["a"])) == ["rougeL", "exact_match"]  # the first is the task's score


def test_categories_and_the_whole_are_means_over_instances():
    stemmed = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
    rows = []
    for task in ("t1", "t2", "t3"):
        of = [one for one in SAID if one[0] == task]
        figures = super_ni([right for _, _, right, _ in of], [said for *_, said in of])
        rows.append({"task": task, "cluster": of[0][1], "examples": len(of), "metrics": figures})
    found = cluster_scores.means(rows)
    groups = {name: [one for one in SAID if name in (one[1], "all") or name == "all"] for name in found}
    for name, of in groups.items():
        assert {k: round(found[name][k], 4) for k in ("rougeL", "exact_match")} == published(of, stemmed)
        assert found[name]["examples"] == len(of)
    assert list(found) == ["misc", "translation", "all"]
    shown = cluster_scores.render(found).splitlines()
    assert shown[0] == "By cluster, means over examples" and shown[-1].split()[:3] == ["all", "3", "9"]
    assert cluster_scores.means(rows[:2]) == {} and cluster_scores.render({}) == ""
    # A figure that one task lacks is none of the cluster's.
    more = [*rows, {"cluster": "misc", "examples": 1, "metrics": {"rougeL": None, "exact_match": 0.0}}]
    assert "rougeL" not in cluster_scores.means(more)["misc"] and "rougeL" in cluster_scores.means(more)["translation"]


@pytest.fixture
def gpt2(tmp_path):
    """A folder with a byte-level vocabulary as GPT-2's is, learnt from a few words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=320, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["gatos gatos", "él vio dos gatos", "the cats sat", "猫が座った"] * 9, trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path, tokenizer


def test_other_languages_are_told_apart_by_gpt2s_pieces_as_published(gpt2):
    folder, tokenizer = gpt2

    class Pieces:
        def tokenize(self, text):
            return [piece.lstrip("Ġ") for piece in tokenizer.encode(text).tokens]

    of = [*SAID[-2:], ("t3", "translation", ["gatos"], "dos gatos")]  # a word is the same behind a blank
    scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Pieces())
    assert ours(of, CrossLingual(str(folder))) == published(of, scorer)
    assert ours(of, CrossLingual(str(folder / "tokenizer.json"))) == published(of, scorer)
    assert metrics.unit_of(CrossLingual()) == "%" and metrics.name_of(CrossLingual()) == "super_ni_xlingual"


def test_without_gpt2_words_are_unicodes_and_the_figure_says_so(tmp_path):
    assert CrossLingual()(["猫が座った。"], ["猫が走った"]) == {
        "rougeL_unicode": pytest.approx(80.0),
        "exact_match": 0.0,
    }
    assert super_ni(["猫が座った"], ["猫が走った"])["rougeL"] == 0.0  # what English words are makes nothing of it
    with pytest.raises(UserError, match="There is no .*nowhere; gpt2= wants GPT-2's tokenizer.json"):
        CrossLingual(str(tmp_path / "nowhere"))(["a"], ["a"])
    (tmp_path / "tokenizer.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(UserError, match=r"tokenizer.json cannot be read as a tokenizer"):
        CrossLingual(str(tmp_path))(["a"], ["a"])
