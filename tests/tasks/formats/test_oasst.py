import json

import pytest

from flan_jax.errors import UserError
from flan_jax.tasks import Tally, oasst_trees, task_from_file
from flan_jax.tasks.examples import examples
from flan_jax.tasks.formats.oasst import OasstTrees
from flan_jax.tasks.tally import BadRow

LONG = {"inputs": None, "targets": None}


def said(name, *replies, **fields):
    """A message whose text is its name: an assistant's where that begins with "a"."""
    role = "assistant" if name.startswith("a") else "prompter"
    return {"message_id": name, "text": name, "role": role, "replies": [*replies], **fields}


def tree(prompt, state="ready_for_export"):
    return {"message_tree_id": prompt["message_id"], "tree_state": state, "prompt": prompt}


TREE = tree(
    said(
        "q",
        said("a1", said("q1", said("a3"))),
        said("a2", said("q2", said("a4"), said("a5", rank=0), said("a6", rank=1)), said("q3"), rank=0),
        said("a7", rank=2, replies=None),
        said("a8", said("q4", said("q5", said("q6")))),
    )
)


def paths(row, **how):
    return ["-".join(one["content"] for one in row["messages"]) for row in OasstTrees(**how)(row)]


def messages_of(row):
    """A tree's messages as the flat export has them, depth first."""
    found, stack = [], [row["prompt"]]
    while stack:
        message = stack.pop()
        stack += [{**reply, "parent_id": message["message_id"]} for reply in reversed(message["replies"] or [])]
        flat = {
            "parent_id": None,
            **message,
            "message_tree_id": row["message_tree_id"],
            "tree_state": row["tree_state"],
        }
        found.append({key: value for key, value in flat.items() if key != "replies"})
    return found


def test_a_path_for_each_last_answer_or_the_best_one():
    # q3, and q4 to q6, are questions that nobody answered.
    leaves = ["q-a1-q1-a3", "q-a2-q2-a4", "q-a2-q2-a5", "q-a2-q2-a6", "q-a7", "q-a8"]
    assert paths(TREE) == leaves
    assert paths(TREE, paths="best") == ["q-a2-q2-a5"]
    assert paths({"together": messages_of(TREE)}) == leaves
    unranked = tree(said("q", said("a1", rank=None), said("a2"), said("a3", rank=3)))
    assert paths(unranked, paths="best") == ["q-a3"]
    assert paths(tree(said("q", said("a1"), said("a2", rank=None))), paths="best") == ["q-a1"]


def test_an_answer_that_paths_share_may_be_learnt_once():
    weights = [[one.get("loss_weight", 1) for one in row["messages"]] for row in OasstTrees(once=True)(TREE)]
    assert weights == [[1] * 4, [0, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 1], [0, 1]]


@pytest.mark.parametrize(
    ("fields", "how", "kept"),
    [
        ({"deleted": True}, {}, False),
        ({"deleted": True}, {"deleted": True}, True),
        ({"review_result": False}, {}, False),
        ({"review_result": None}, {}, True),
        ({"review_result": False}, {"rejected": True}, True),
        ({"synthetic": True}, {}, True),
        ({"synthetic": True}, {"synthetic": False}, False),
        ({"lang": "de"}, {"langs": ("en",)}, False),
        ({"lang": "de"}, {"langs": ("en", "de")}, True),
    ],
)
def test_what_is_not_wanted_goes_with_all_that_replies_to_it(fields, how, kept):
    row = tree(said("q", said("a1", said("q1", said("a2")), **fields), said("a3", lang="en"), lang="en"))
    how = {**how, "langs": (*how.get("langs", ()), None)} if "langs" in how else how  # the others tell no language
    assert paths(row, **how) == (["q-a1-q1-a2"] if kept else []) + ["q-a3"]


def test_trees_in_another_state_are_left_out():
    assert paths(tree(said("q", said("a")), state="growing")) == []
    assert paths(tree(said("q", said("a")), state="growing"), states=("growing",)) == ["q-a"]
    assert paths({"prompt": said("q", said("a"))}) == ["q-a"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"prompt": None}, "the tree's prompt is NoneType; a message with its replies is wanted"),
        (tree(said("q", said("a1"), said("a1"))), "message 'a1' stands twice in the tree"),
        (tree(said("q", said("a1", said("q")))), "message 'q' stands twice in the tree"),
        (tree(said("q", said("a1", parent_id="p"))), "message 'a1' replies to 'q', and its parent_id is 'p'"),
        (tree(said("q", "a1")), "message 'q' has the reply 'a1'; a message is wanted"),
        ({"together": [{"text": "q"}]}, "a message of the tree has no message_id"),
        ({"together": [{"message_id": "q"}] * 2}, "message 'q' stands twice"),
        ({"together": [{"message_id": "a", "parent_id": "q"}]}, "'a' replies to 'q', which is not among the messages"),
        (
            {"together": [{"message_id": one, "parent_id": other} for one, other in ("ab", "bc", "ca")]},
            "message 'a' replies to itself, by way of its parents",
        ),
    ],
)
def test_what_is_no_tree_is_told(row, fault):
    with pytest.raises(BadRow, match=fault):
        OasstTrees()(row)


def test_a_file_of_messages_gives_what_its_file_of_trees_does(tmp_path, model):
    trees = [TREE, tree(said("p", said("a9")), state="growing"), tree(said("r", said("ax")))]
    torn = [{**one, "message_tree_id": "s"} for one in messages_of(tree(said("s", said("ay"))))[1:]]
    (tmp_path / "t.trees.jsonl").write_text("".join(json.dumps(one) + "\n" for one in trees))
    flat = [json.dumps(message) for one in trees for message in messages_of(one)]
    lines = [*flat[:3], "{", *flat[3:], *map(json.dumps, torn), "["]
    (tmp_path / "t.messages.jsonl").write_text("".join(f"{line}\n" for line in lines))
    found, tallies = {}, {}
    for kind, bad in (("trees", "error"), ("messages", "skip")):
        task_from_file(tmp_path / f"t.{kind}.jsonl", kind, vocabulary=model).register()
        tallies[kind] = Tally()
        read = examples(kind, "train", LONG, on_bad_row=bad, tally=tallies[kind])
        found[kind] = [(one.inputs_text, one.targets_text) for one in read]
    assert found["trees"] == found["messages"] and len(found["trees"]) == 7
    assert tallies["trees"] == Tally(read=8, kept=7, dropped=1)
    assert tallies["messages"] == Tally(read=11, kept=7, dropped=1, bad_rows=3)  # two lines and a tree without its root
    with pytest.raises(UserError, match="t.messages.jsonl:4: not JSON"):
        list(examples("messages", "train", LONG))
    # What is held out are whole trees.
    oasst_trees(
        tmp_path / "t.messages.jsonl", "held", validation_rows=1, on_bad_row="skip", vocabulary=model
    ).register()
    held = list(examples("held", "validation", LONG, on_bad_row="skip"))
    assert len(held) == 6 and len(list(examples("held", "train", LONG, on_bad_row="skip"))) == 1
    assert {one.id.partition("#")[0] for one in held} == {"t.messages:0"}


def test_paths_are_of_two_kinds(tmp_path):
    with pytest.raises(UserError, match=r"oasst_trees\(paths='leafs'\): it is 'leaves' or 'best'"):
        oasst_trees(tmp_path, "t", paths="leafs")


def test_real_trees(data, model):
    rows = [json.loads(line) for line in (data / "chat/oasst_en_trees.jsonl").open()]

    def leaves(message, before):
        """By recursion, as the code does not: the texts of each path, up to its last answer."""
        path = (*before, message["text"].strip())
        below = [found for reply in message["replies"] or () for found in leaves(reply, path)]
        return below or ([path] if message["role"] == "assistant" else [])

    wanted = [path for row in rows for path in leaves(row["prompt"], ())]
    oasst_trees(data / "chat/oasst_en_trees.jsonl", "leaves", vocabulary=model).register()
    oasst_trees(data / "chat/oasst_en_trees.jsonl", "best", paths="best", vocabulary=model).register()
    found = list(examples("leaves", "train", LONG))
    assert len(found) == len(wanted) == 397
    for one, path in zip(found, wanted, strict=True):
        assert one.inputs_text == f"User: {path[0]}\nAssistant:" and one.targets_text.startswith(path[1])
        assert one.targets_text.endswith(path[-1]) and one.targets_text.count("\nAssistant: ") >= len(path) // 2 - 1
    best = list(examples("best", "train", LONG))
    assert len(best) == len(rows) == 70
    assert {(one.inputs_text, one.targets_text) for one in best} < {
        (one.inputs_text, one.targets_text) for one in found
    }
