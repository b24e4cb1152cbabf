"""DART (GEM): triples of subject, relation and object, many of them from tables, put into a sentence.

Put these facts into a sentence or two: Harbour Museum OPENED 1987; Harbour Museum TOWN Lindvik
→ The Harbour Museum in Lindvik opened in 1987.
"""

import re

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.struct_to_text.gem import SPLITS, texts_of
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_MARK = re.compile(r"\[[A-Z]+\]\s*")  # [TABLECONTEXT] and [TITLE], which stand where a table has no subject


def _fields(row: Row) -> Row | None:
    triples = [text for triple in row["tripleset"] if (text := _MARK.sub("", triple).strip())]
    texts = texts_of(row)
    return {"triples": "; ".join(triples), "lines": "\n".join(triples), "texts": texts} if triples and texts else None


def _hub_row(row: Row) -> Row:
    # TFDS has each triple as one text, and False where nothing is said of the subtree.
    triples = [" ".join(triple) for triple in row["tripleset"]]
    return {**row, "tripleset": triples, "subtree_was_extended": bool(row["subtree_was_extended"])}


_SAMPLE = {
    "gem_id": "dart-validation-0",
    "gem_parent_id": "dart-validation-0",
    "dart_id": 0,
    "tripleset": ["Harbour Museum OPENED 1987", "Harbour Museum TOWN Lindvik"],
    "subtree_was_extended": False,
    "target_sources": ["WikiTableQuestions_lily", "WikiTableQuestions_mturk"],
    "target": "The Harbour Museum in Lindvik opened in 1987.",
    "references": [
        "The Harbour Museum in Lindvik opened in 1987.",
        "Lindvik has had its Harbour Museum since 1987.",
    ],
}
_TRIPLES = [["Harbour Museum", "OPENED", "1987"], ["Harbour Museum", "TOWN", "Lindvik"]]
_DART = flan_task(
    name="dart",
    cluster="struct_to_text",
    source=Corpus(
        "dart",
        tfds="gem/dart:1.1.0",
        hub=Hub("GEM/gem", "dart", row=_hub_row, sample={**_SAMPLE, "tripleset": _TRIPLES}, is_sorted=True),
        splits=SPLITS,
        rows={"train": 62_659, "validation": 2768},
        sample=_SAMPLE,
    ),
    preprocess=_fields,
    answer="texts",
    templates=(
        "Put these facts into a sentence or two: {triples}",
        "Facts:\n{lines}\n\nDescribe them in plain English.",
        "Data: {triples}\nText:",
        "{lines}\n\nEach line above holds a subject, a relation and a value. How would that read as ordinary prose?",
        "Turn the table entries below into something readable.\n\n{lines}",
        "My database says: {triples}\nHow do I tell that to someone who has never seen a database?",
        "Write a short passage that covers everything in this list of triples: {triples}",
        "Suppose your notes for an encyclopedia are\n{lines}\nWhat does the entry say?",
        "A knowledge graph has the edges {triples}. Say it the way a person would.",
        "Can you read this record out to me in full sentences?\n{lines}",
    ),
    inverted_templates=(
        ("{answer}\n\nBreak this text down into triples of subject, relation and object, one a line.", "{lines}"),
        ("List the facts that the following text states, with semicolons between them: {answer}", "{triples}"),
        ("From which entries of a table could this have been written? {answer}", "{triples}"),
    ),
    held_out_templates=(
        "<triples>\n{lines}\n</triples>\n<sentence>",
        "My screen reader makes a mess of tables. Please rephrase this one as text to listen to: {triples}",
    ),
    metrics=("rouge", "bleu"),
)

TASKS = (_DART,)
