"""Where gin files are found, and how text is told that cannot be read as gin."""

import importlib.resources
from pathlib import Path

from flan_jax.config.macros import MACROS
from flan_jax.errors import UserError, nearest

CONFIG_FOLDERS = {"gin file": ("", "runs", "models", "mixtures"), "model": ("models",)}


def config_folder() -> Path:
    """The folder of the packaged gin files."""
    return Path(str(importlib.resources.files("flan_jax.gin_configs")))


def find_gin_file(name: str, beside: Path | None = None, kind: str = "gin file") -> Path:
    """Finds a gin file.

    Args:
      name: a path, or a file's name with or without ".gin".
      beside: a folder that is looked in first: that of the file which includes `name`.
      kind: "gin file", or "model" to look among the packaged models only, besides the caller's own files.

    Returns:
      The first of: beside the including file, beside the caller, in gin_configs/ and its runs/, models/ and mixtures/.

    Raises:
      UserError: it is in none of them; names the nearest that are.

    >>> find_gin_file("quickstart").name
    'quickstart.gin'
    """
    packaged = [config_folder() / folder for folder in CONFIG_FOLDERS[kind]]
    folders = [*([beside] if beside else []), Path(), *packaged]
    for folder in folders:
        for spelling in (name, f"{name}.gin"):
            if (folder / spelling).is_file():
                return folder / spelling
    known = sorted({path.stem for folder in folders for path in folder.glob("*.gin")})
    close = nearest(Path(name).name.removesuffix(".gin"), known)
    raise UserError(f"no {kind} {name!r} beside you, in gin_configs/ or as a path{close}")


def syntax_fault(error: SyntaxError, text: str, place: str) -> str:
    """Tells what cannot be read as gin, where it stands, and what to type instead.

    Args:
      error: as gin raised it.
      text: the whole text.
      place: the file's name, or the flag.
    """
    line = getattr(error, "lineno", None)
    location = error.args[1] if len(error.args) > 1 else None
    if location is not None:
        line = location[1]
    lines = text.splitlines()
    seen = lines[line - 1].strip() if line and line <= len(lines) else text.strip()
    told = str(error.args[0]).split("\n")[0].rstrip(".")
    if "malformed node" in told or "invalid syntax" in told:
        name, _, value = seen.partition("=")
        word = value.strip().strip("'\"")
        told = f'{value.strip()!r} is not a gin value: a word needs quotes, as in {name.strip()} = "{word}"'
        if place.startswith("--gin."):
            told = f"{value.strip()!r} is not a gin value: a word needs quotes, type --gin.{name.strip()}='\"{word}\"'"
            told += f", or the plain flag --{name.strip().lower()} {word}" if name.strip() in MACROS else ""
        return f"{place if place.startswith('--gin.') else f'{place}:{line}'}: {told}"
    where = place if place.startswith("--gin.") else f"{place}:{line}"
    return f"{where}: cannot read {seen!r} ({told})"
