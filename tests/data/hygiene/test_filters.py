"""Filters of rows one by one; those by length and by a user's function are seen in `tests/data/test_selection.py`."""

import sys

import pytest

from flan_jax.data.hygiene import filters
from flan_jax.data.hygiene_config import HygieneConfig
from flan_jax.errors import UserError

ENGLISH = "The children walked along the river until they came to an old bridge that nobody used any more."
GERMAN = "Die Kinder gingen am Fluss entlang, bis sie zu einer alten Brücke kamen, die niemand mehr benutzte."


def test_rows_that_may_be_in_the_language_stay():
    verdict = filters.verdict_of(HygieneConfig(languages=("en",)))
    assert verdict("t", ENGLISH, "", 18) is None
    assert verdict("t", "12 + 30 = 42, 7", "x1 y2 z3", 8) is None, "numbers are of no language"
    assert verdict("t", "Ja, gern.", "", 2) is None, "too few words to tell"


@pytest.mark.slow  # a close look reads the models of 75 languages
def test_rows_in_other_languages_are_left_out_where_that_is_clear():
    verdict = filters.verdict_of(HygieneConfig(languages=("en",)))
    assert verdict("t", GERMAN, "", 17) == ("another language", {"language": "de"})
    assert filters.verdict_of(HygieneConfig(languages=("en", "de")))("t", GERMAN, "", 17) is None


def test_without_lingua_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lingua", None)
    with pytest.raises(UserError, match=r"Hygiene.languages needs lingua.*flan-jax\[hygiene\]"):
        filters.verdict_of(HygieneConfig(languages=("en",)))
