"""Filters of rows one by one: by length, by language, by a function of the user's."""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

from flan_jax.data.hygiene_config import HygieneConfig
from flan_jax.errors import UserError

_LEAST_WORDS = 5  # of fewer no language can be told
_CLEARLY = 0.2  # how much likelier the language is than the next, of 0 to 1: names and numbers read like many
_MOST_LETTERS = 1000  # that a language is told by

Verdict = tuple[str, dict[str, Any]] | None
"""Why a row is left out, and what else there is to say; None where it stays."""


def verdict_of(settings: HygieneConfig) -> Callable[[str, str, str, int], Verdict]:
    """Makes the filter that settings ask for.

    Args:
      settings: which filters.

    Returns:
      A function of (task, prompt, answer, number of words).

    Raises:
      UserError: the user's function is not found, or what tells languages is not installed.
    """
    keep = None if settings.keep is None else users_function(settings.keep)
    language = _language_teller(settings.languages) if settings.languages else None
    if settings.languages:
        check_codes(settings.languages)

    def verdict(task: str, prompt: str, answer: str, words: int) -> Verdict:
        if words < settings.min_words:
            return "too few words", {"words": words}
        if settings.max_words is not None and words > settings.max_words:
            return "too many words", {"words": words}
        if language is not None and words >= _LEAST_WORDS:
            found = language(f"{prompt}\n{answer}"[:_MOST_LETTERS])
            if found is not None:
                return "another language", {"language": found}
        if keep is not None and not _asked(keep, settings.keep or "", task, prompt, answer):
            return "Hygiene.keep", {}
        return None

    return verdict


def users_function(name: str) -> Callable[[str, str, str], Any]:
    """The function that `Hygiene.keep` names.

    Raises:
      UserError: its module or itself is not found, or it is none.
    """
    from flan_jax.data.preparing.registering import import_module

    module, _, path = name.partition(":")
    try:
        import_module(module)
    except UserError as fault:
        raise UserError(f"Hygiene.keep is {name!r}: {fault}") from fault
    try:
        found: Any = functools.reduce(getattr, path.split("."), importlib.import_module(module))
    except AttributeError:
        raise UserError(f"Hygiene.keep is {name!r}, and module {module!r} has no {path!r}") from None
    if not callable(found):
        raise UserError(f"Hygiene.keep is {name!r}, which is no function")
    return found


def _asked(keep: Callable[[str, str, str], Any], name: str, task: str, prompt: str, answer: str) -> bool:
    from flan_jax.tasks.user_functions import raised

    try:
        return bool(keep(task, prompt, answer))
    except Exception as error:
        row = f"{prompt} -> {answer}"[:200]
        raise UserError(
            f"Hygiene.keep {name!r} failed with {raised(error, keep)}; task {task!r}, row {row!r}"
        ) from error


def check_codes(codes: Sequence[str]) -> None:
    """Refuses codes that are no language's.

    Raises:
      UserError: names one, and those that are known.
    """
    known = sorted(_codes())
    for code in codes:
        if code not in known:
            raise UserError(f"Hygiene.languages has {code!r}; languages that can be told are {', '.join(known)}")


def _language_teller(wanted: Sequence[str]) -> Callable[[str], str | None]:
    """Tells the language of a text that is clearly in none of those wanted.

    A quick look is enough for most; what it takes for another language is looked at closely, which wants 1 GB.
    """

    def language(text: str) -> str | None:
        found = None
        for close in (False, True):
            found = _detector(close).detect_language_of(text)
            if found is None or found.iso_code_639_1.name.lower() in wanted:
                return None
        return None if found is None else found.iso_code_639_1.name.lower()

    return language


def _lingua() -> Any:
    try:
        import lingua
    except ImportError:
        raise UserError(
            "Hygiene.languages needs lingua, which is not installed; run `pip install 'flan-jax[hygiene]'`, or leave "
            "Hygiene.languages empty"
        ) from None
    return lingua


def _codes() -> set[str]:
    return {language.iso_code_639_1.name.lower() for language in _lingua().Language.all()}


@functools.cache
def _detector(close: bool) -> Any:
    builder = _lingua().LanguageDetectorBuilder.from_all_languages().with_minimum_relative_distance(_CLEARLY)
    return builder.build() if close else builder.with_low_accuracy_mode().build()
