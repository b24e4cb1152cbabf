"""WebNLG, English (GEM): statements from DBpedia, put into a short text.

RDF: Lindvik Airport, elevation, 12.0; Lindvik Airport, cityServed, Lindvik
In words:
→ Lindvik Airport serves the city of Lindvik and lies 12 metres above sea level.
"""

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.struct_to_text.gem import SPLITS, texts_of
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row


def _fields(row: Row) -> Row | None:
    triples = [triple.replace("_", " ").replace(" | ", ", ") for triple in row["input"]]
    texts = texts_of(row)
    if not triples or not texts:
        return None
    return {"triples": "; ".join(triples), "lines": "\n".join(triples), "texts": texts}


_WEB_NLG_EN = flan_task(
    name="web_nlg_en",
    cluster="struct_to_text",
    source=Corpus(
        "web_nlg_en",
        tfds="gem/web_nlg_en:1.1.0",
        hub=Hub("GEM/gem", "web_nlg_en", is_sorted=True),
        splits=SPLITS,
        rows={"train": 35_426, "validation": 1667},
        sample={
            "gem_id": "web_nlg_en-validation-0",
            "gem_parent_id": "web_nlg_en-validation-0",
            "input": ["Lindvik_Airport | elevation | 12.0", "Lindvik_Airport | cityServed | Lindvik"],
            "target": "Lindvik Airport serves the city of Lindvik and lies 12 metres above sea level.",
            "references": [
                "Lindvik Airport serves the city of Lindvik and lies 12 metres above sea level.",
                "At 12 metres above sea level, Lindvik Airport serves Lindvik.",
            ],
            "category": "Airport",
            "webnlg_id": "Airport/2/Id1",
        },
    ),
    preprocess=_fields,
    answer="texts",
    templates=(
        "Write a text that states the following: {triples}",
        "{lines}\n\nExpress these subject, property, value triples in fluent English.",
        "RDF: {triples}\nIn words:",
        "Tell me about this, using only what is given.\n{lines}",
        "Here is all we know: {triples}. How would an article put it?",
        "Compose a sentence or two from these DBpedia statements, leaving nothing out:\n{lines}",
        'A robot reports: "{triples}." Translate the report into everyday language.',
        "Properties and values:\n{lines}\n\nSummary for people who don't read triples:",
        "You wrote down {triples} and are now asked what you found out. What do you answer?",
        "could you string these bits of information together into a short text? {triples}",
    ),
    inverted_templates=(
        ("Text: {answer}\nTriples (subject, property, value):", "{triples}"),
        (
            "Read this and write down, one a line, which subject has which property with which value.\n\n{answer}",
            "{lines}",
        ),
        ("{answer}\nWhat would DBpedia have to hold for someone to write this?", "{triples}"),
    ),
    held_out_templates=(
        "{triples}\n\nThe line above was made for machines. Rewrite it for humans.",
        "The curator of an exhibition hands you these notes for a label on the wall:\n{lines}\nShe wants full "
        "sentences. What should the label say?",
    ),
    metrics=("rouge", "bleu"),
)

TASKS = (_WEB_NLG_EN,)
