"""What a caller types and leaves in a folder."""

import dataclasses
from pathlib import Path

from flan_jax.config import command_line
from flan_jax.config.kept import to_json
from flan_jax.config.resolving import resolve
from flan_jax.config.run_config import RunConfig

SHAPE = ["--mixture", "m", "--steps", "3"]


def resolved(*argv: str) -> RunConfig:
    """What a command line comes to."""
    return resolve(*command_line.parse(argv))


def write(name: str, text: str) -> str:
    """Writes a file, in folders that are made for it."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def save_run(folder: str, **changes) -> RunConfig:
    """A run's folder as training leaves it, as far as its configuration goes."""
    run = dataclasses.replace(resolved("train", *SHAPE), run_dir=folder, **changes)
    write(f"{folder}/config.json", to_json(run))
    return run
