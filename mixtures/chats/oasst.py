"""OpenAssistant (Köpf et al., 2023): trees of messages that people wrote to each other, ranked by others; 35 languages.

User: Which is longer, the Elbe or the Rhine?
Assistant:
→ The Rhine, by some 140 km.
  User: Where does it end?
  Assistant: In the North Sea, near Rotterdam.

    oasst        a conversation for each last answer of a tree
    oasst_best   one of each tree, by the answers that were ranked best

    Data.corpora = {"oasst": "2023-04-12_oasst_ready.trees.jsonl.gz"}, or {"oasst": "hugging_face"}
"""

from flan_jax.tasks import Corpus, Hub, oasst_trees

_LATER = {"role": "prompter", "text": "Where does it end?"}
_END = {"role": "assistant", "text": "In the North Sea, near Rotterdam."}
_RHINE = {
    "role": "assistant",
    "text": "The Rhine, by some 140 km.",
    "rank": 0,
    "replies": [{**_LATER, "replies": [_END]}],
}
_ELBE = {"role": "assistant", "text": "The Elbe.", "rank": 1}

_CORPUS = Corpus(
    "oasst",
    # The hub's rows are messages, those of a tree one after another.
    hub=Hub("OpenAssistant/oasst1", together="message_tree_id"),
    splits={"train": "train[100:]", "validation": "train[:100]"},
    get="2023-04-12_oasst_ready.trees.jsonl.gz of OpenAssistant/oasst1 on the hub, Apache-2.0",
    sample={
        "tree_state": "ready_for_export",
        "prompt": {"role": "prompter", "text": "Which is longer, the Elbe or the Rhine?", "replies": [_RHINE, _ELBE]},
    },
)

TASKS = (
    oasst_trees(_CORPUS, "oasst").register(),
    oasst_trees(_CORPUS, "oasst_best", paths="best").register(),
)
