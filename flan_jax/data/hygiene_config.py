"""What a run leaves out of its training data; plain words and numbers, which travel to the data process as JSON."""

import dataclasses
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class HygieneConfig:
    """Which prepared examples a run does without. Nothing is left out unless it is asked for.

    Attributes:
      duplicates: "keep"; "exact" leaves out rows that say the same as another, but for case, marks and blanks; "near"
        also those whose words run alike.
      similarity: how alike: the share of runs of five words that two rows have in common (Jaccard), by MinHash.
      stays: which of several duplicates stays: the "first", by their tasks' names and then the source's order, or the
        "longest".
      contamination: what is done about rows that share an n-gram of words, or a whole prompt, with what is scored:
        "keep", "report" in the plan, or "drop".
      against: the mixtures that nothing shall be shared with; empty: EVAL_MIXTURE.
      ngram: how many words in a row are too many to share: 13, or 8 to see more.
      min_words: the fewest words of a row, prompt and answer together.
      max_words: the most; None for any number.
      languages: codes such as "en": rows in other languages are left out, where it can be told; empty for any.
      keep: a function of yours, "package.module:function", of (task, prompt, answer): False leaves the row out.
      on_leak: what a run does whose EVAL_MIXTURE shares rows, tasks or held-out wordings with MIXTURE: "tell" or
        "refuse".
    """

    duplicates: Literal["keep", "exact", "near"] = "keep"
    similarity: float = 0.8
    stays: Literal["first", "longest"] = "first"
    contamination: Literal["keep", "report", "drop"] = "keep"
    against: tuple[str, ...] = ()
    ngram: int = 13
    min_words: int = 0
    max_words: int | None = None
    languages: tuple[str, ...] = ()
    keep: str | None = None
    on_leak: Literal["tell", "refuse"] = "tell"

    @property
    def filters(self) -> bool:
        """Whether rows are looked at one by one."""
        return bool(self.min_words or self.max_words is not None or self.languages or self.keep is not None)

    @property
    def selects(self) -> bool:
        """Whether anything may be left out, or reported."""
        return self.filters or self.duplicates != "keep" or self.contamination != "keep"

    def described(self) -> dict[str, Any]:
        """All that a selection rests on, fit for JSON."""
        plain = dataclasses.asdict(self)
        del plain["on_leak"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    @classmethod
    def from_description(cls, described: dict[str, Any]) -> "HygieneConfig":
        """The settings that `described` described."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in described.items()
        }
        return cls(**plain)

    def faults(self) -> list[str]:
        """Every fault of these settings that shows without data."""
        faults = []
        if not 0 < self.similarity <= 1:
            faults.append(f"similarity is {self.similarity}, wanted more than 0 and at most 1")
        if not 2 <= self.ngram <= 64:
            faults.append(f"ngram is {self.ngram}, wanted 2 to 64 words")
        if self.min_words < 0:
            faults.append(f"min_words is {self.min_words}, wanted 0 or more")
        if self.max_words is not None and self.max_words < max(1, self.min_words):
            faults.append(f"max_words is {self.max_words}, wanted {max(1, self.min_words)} or more")
        for code in self.languages:
            if not (len(code) == 2 and code.isascii() and code.isalpha() and code.islower()):
                faults.append(f"languages names {code!r}, wanted codes of two letters such as 'en'")
        module, _, function = (self.keep or "a:b").partition(":")
        if not all(part.isidentifier() for part in f"{module}.{function}".split(".")):
            faults.append(f"keep is {self.keep!r}, wanted 'package.module:function'")
        if self.against and self.contamination == "keep":
            faults.append(
                "against names mixtures, and contamination is 'keep', so that nothing is looked for in them; "
                "set it to 'report' or 'drop'"
            )
        return faults
