"""Answer options: how a block of them reads, and what the targets are then called."""

import dataclasses
import string
from collections.abc import Sequence

from flan_jax.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class OptionStyle:
    """One way to write the options.

    Attributes:
      header: what stands before the first option.
      bullet: what stands before each; `{letter}` and `{number}` are replaced.
      separator: what stands between two options.
      last_separator: what stands before the last one, where it differs.
      lettered: whether the answer is the letter instead of the option's text.
    """

    header: str
    bullet: str = ""
    separator: str = "\n"
    last_separator: str | None = None
    lettered: bool = False

    def block(self, options: Sequence[str]) -> str:
        """The block of options.

        >>> print(STYLES["dashes"].block(["yes", "no"]))
        OPTIONS:
        - yes
        - no
        """
        items = [self._bullet(number) + option for number, option in enumerate(options)]
        if len(items) > 1 and self.last_separator is not None:
            return self.header + self.separator.join(items[:-1]) + self.last_separator + items[-1]
        return self.header + self.separator.join(items)

    def _bullet(self, number: int) -> str:
        if not self.bullet:
            return ""
        return self.bullet.replace("{letter}", letter(number)).replace("{number}", str(number + 1))

    def answers(self, options: Sequence[str]) -> list[str]:
        """What each option is called in the targets."""
        return [letter(number) for number in range(len(options))] if self.lettered else list(options)


def letter(number: int) -> str:
    """A, B, ... Z, AA, AB, ... for 0, 1, ...

    >>> letter(0), letter(25), letter(26)
    ('A', 'Z', 'AA')
    """
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = string.ascii_uppercase[rest] + name
    return name


STYLES: dict[str, OptionStyle] = {
    "dashes": OptionStyle("OPTIONS:\n", "- "),
    "stars": OptionStyle("Options:\n", "* "),
    "numbers": OptionStyle("Possible answers:\n", "{number}. "),
    "line": OptionStyle("Choose from: ", separator=", "),
    "or": OptionStyle("Answer with ", separator=", ", last_separator=" or "),
    "slashes": OptionStyle("Pick one: ", separator=" / "),
    "letters": OptionStyle("Choices:\n", "({letter}) ", lettered=True),
    "lettered_lines": OptionStyle("Options:\n", "{letter}. ", lettered=True),
}
DEFAULT_STYLES = ("dashes", "stars", "line", "or")


def check_styles(names: Sequence[str]) -> None:
    """Finds names that are no style.

    Raises:
      UserError: there is such a name, or none at all.
    """
    for name in names:
        if name not in STYLES:
            raise UserError(f"option_styles has {name!r}; the styles are {', '.join(STYLES)}{nearest(name, STYLES)}.")
    if not names:
        raise UserError(f"option_styles is empty; name some of {', '.join(STYLES)}.")
