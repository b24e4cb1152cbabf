"""CommonGen (GEM): a sentence about an everyday scene that has all the given words.

Write a sentence that uses all of these words: boat, fisherman, throw, net.
→ A fisherman throws his net from the boat.
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.struct_to_text.gem import SPLITS, texts_of
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row | None:
    texts = texts_of(row)
    return {"concepts": row["concepts"], "lines": "\n".join(row["concepts"]), "texts": texts} if texts else None


_COMMON_GEN = flan_task(
    name="common_gen",
    cluster="struct_to_text",
    source=Corpus(
        "common_gen",
        tfds="gem/common_gen:1.1.0",
        hub=Hub("GEM/gem", "common_gen", is_sorted=True),
        splits=SPLITS,
        rows={"train": 67_389, "validation": 993},
        sample={
            "gem_id": "common_gen-validation-0",
            "gem_parent_id": "common_gen-validation-0",
            "concept_set_id": 0,
            "concepts": ["boat", "fisherman", "throw", "net"],
            "target": "A fisherman throws his net from the boat.",
            "references": [
                "A fisherman throws his net from the boat.",
                "The fishermen stand in a boat and throw a net into the sea.",
            ],
        },
    ),
    preprocess=_fields,
    answer="texts",
    templates=(
        "Write a sentence that uses all of these words: {concepts}.",
        "Concepts: {concepts}\nSentence:",
        "{lines}\n\nCan you put these words together into one sentence about everyday life?",
        "Make up something short that you might see on an ordinary day. It has to mention: {concepts}",
        "A photo is tagged with {concepts}. What could be going on in it? One sentence will do.",
        "I'm playing a word game and drew the cards {concepts}. Give me a sensible line that has every one of them.",
        "{concepts}: combine them into a sentence that makes sense. You may inflect them, but leave none out.",
        "Words to include:\n{lines}\n\nSimple sentence with all of them:",
        "An English learner is asked to work {concepts} into a single sentence. What might she write?",
        "Describe a scene where each of the following comes up.\n{lines}",
    ),
    inverted_templates=(
        ("Sentence: {answer}\nKeywords:", "{concepts}"),
        ("Pick out the main things and actions of this sentence, one a line, in their basic form: {answer}", "{lines}"),
    ),
    held_out_templates=(
        "words = [{concepts}]\n# complete the example so that each word occurs\nexample =",
        "You are the narrator of a children's book. The next page shows these:\n{lines}\nTell us what happens on it, "
        "in one sentence.",
    ),
    metrics=("rouge", "bleu"),
)

TASKS = (_COMMON_GEN,)
