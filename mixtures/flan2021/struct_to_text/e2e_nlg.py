"""E2E NLG (GEM, cleaned): attributes of a restaurant, put into a description of it.

Restaurant data: name = The Copper Kettle, eatType = coffee shop, priceRange = cheap, area = riverside
Description:
→ The Copper Kettle is a cheap coffee shop by the river.
"""

import re

from flan_jax.mixtures.flan2021.declaring import flan_task
from flan_jax.mixtures.flan2021.struct_to_text.gem import SPLITS, texts_of
from flan_jax.tasks import Corpus, Hub
from flan_jax.tasks.sources import Row

_ATTRIBUTE = re.compile(r"([^\[\],]+)\[([^\]]*)\]")  # "name[The Copper Kettle], area[riverside]"


def _fields(row: Row) -> Row | None:
    found = [f"{name.strip()} = {value}" for name, value in _ATTRIBUTE.findall(row["meaning_representation"])]
    texts = texts_of(row)
    return {"attributes": ", ".join(found), "lines": "\n".join(found), "texts": texts} if found and texts else None


_E2E_NLG = flan_task(
    name="e2e_nlg",
    cluster="struct_to_text",
    source=Corpus(
        "e2e_nlg",
        tfds="gem/e2e_nlg:1.1.0",
        hub=Hub("GEM/gem", "e2e_nlg", is_sorted=True),
        splits=SPLITS,
        rows={"train": 33_525, "validation": 4299},
        sample={
            "gem_id": "e2e_nlg-validation-0",
            "gem_parent_id": "e2e_nlg-validation-0",
            "meaning_representation": "name[The Copper Kettle], eatType[coffee shop], priceRange[cheap], "
            "area[riverside]",
            "target": "The Copper Kettle is a cheap coffee shop by the river.",
            "references": ["The Copper Kettle is a cheap coffee shop by the river."],
        },
    ),
    preprocess=_fields,
    answer="texts",
    templates=(
        "Write a short description of the restaurant with these details: {attributes}.",
        "{lines}\n\nHow would you describe this place to a friend?",
        "Restaurant data: {attributes}\nDescription:",
        "I run a dining guide. Turn this entry into a sentence or two for my readers:\n{lines}",
        "You answer the phone at a tourist office. A caller asks about a place, and your screen shows {attributes}. "
        "What do you say?",
        "Here is what is known about a venue.\n{lines}\nWork all of it into a brief text.",
        "Can you tell me in plain words what sort of place this is? {attributes}",
        "Fields and values:\n{lines}\n\nThe same in natural language:",
        "Compose a listing for the city's website from this record: {attributes}",
        "Search results such as this one are no fun to read.\n{lines}\nRephrase it in full sentences.",
    ),
    inverted_templates=(
        (
            'Which attributes does this text give? Write them as "attribute = value", with commas between.\n{answer}',
            "{attributes}",
        ),
        ("{answer}\n\nFill in a form about this place, a field and its value on each line.", "{lines}"),
    ),
    held_out_templates=(
        "restaurant(\n{lines}\n)\nto_english(restaurant) returns:",
        "Imagine a voice assistant that has looked up {attributes}. Which sentence should it speak?",
    ),
    metrics=("rouge", "bleu"),
)

TASKS = (_E2E_NLG,)
