"""ReCoRD (SuperGLUE): which name is missing from a sentence about a news article.

The mayor of Ashby opened a bridge over the River Tarn on Monday. The old one was lost when the Tarn flooded.

Fill in the blank: It is the first new crossing of the _____ in forty years.
It is one of: Ashby, River Tarn, Tarn
→ River Tarn (or Tarn)
"""

from typing import Any

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.tasks import Corpus, Hub


def _fields(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "passage": row["passage"].partition("\n@highlight")[0],
        "query": row["query"].replace("@placeholder", "_____"),
        "names": row["entities"],
        "list_of_names": "\n".join(f"- {name}" for name in row["entities"]),
        "answers": row["answers"],
    }


_RECORD = flan_task(
    name="record",
    cluster="reading_comprehension_with_commonsense",
    source=Corpus(
        "record",
        tfds="super_glue/record:1.0.2",
        hub=Hub("aps/super_glue", "record"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        rows={"train": 100_730, "validation": 10_000},
        sample={
            "passage": "The mayor of Ashby opened a bridge over the River Tarn on Monday. The old one was lost when "
            "the Tarn flooded.\n@highlight\nThe bridge is open to walkers\n@highlight\nIt took two years to build",
            "query": "It is the first new crossing of the @placeholder in forty years.",
            "entities": ["Ashby", "River Tarn", "Tarn"],
            "answers": ["River Tarn", "Tarn"],
            "idx": {"passage": 0, "query": 0},
        },
    ),
    preprocess=_fields,
    answer="answers",
    metrics=("exact_match", "f1"),
    trim_field="passage",
    templates=(
        "{passage}\n\nFill in the blank: {query}\nIt is one of: {names}",
        "Article: {passage}\n\nSentence: {query}\n\nWhich of these belongs in the blank?\n{list_of_names}",
        "Complete the sentence with a name from the news story below.\n\n{query}\n\nNames: {names}\n\nStory: {passage}",
        "{query}\nWho or what is missing here? You can tell from this report.\n{passage}\nThe candidates:\n"
        "{list_of_names}",
        "{names}: these names occur in the text that follows.\n\n{passage}\n\nWhich one does the blank stand for? "
        "{query}",
        "A line about an article has lost a name: {query}\n\nThe article:\n{passage}\n\nWhat it may be: {names}\n\nThe "
        "lost name:",
        "I have a summary with a gap in it. {query} The original text is this:\n{passage}\nPlease choose one of these "
        "to close the gap: {names}",
        "News: {passage}\nCloze: {query}\nEntities: {names}\nAnswer:",
        "Consider {names}. Only one can stand where the blank is.\n{query}\nJudging by this, which?\n{passage}",
    ),
    inverted_templates=(
        (
            "{passage}\n\nWrite one more sentence for this article, with a blank (_____) that stands for {answer}.",
            "{query}",
        ),
        (
            "Make a fill-in-the-blank exercise about the news below. What is left out must be {answer}.\n\n{passage}",
            "{query}",
        ),
    ),
    held_out_templates=(
        "The last sentence of this report has a hole in it. Mend it.\n\n{passage} {query}\n\nUse one of the "
        "following.\n{list_of_names}",
        "Here's a riddle: I took a name out of a sentence on the news. What was it?\n\nMy sentence: {query}\nThe news: "
        "{passage}\nI won't tell, but it was one of {names}.",
    ),
)

TASKS = (_RECORD,)
