"""What each dataset's sample looks like under each of its templates, for people to read; a text file a dataset.

python -m tests.mixtures.flan2021.goldens      writes them anew, after a template was changed
"""

import dataclasses
import importlib
import pathlib
from collections.abc import Iterator

from flan_jax.mixtures.flan2021 import suite
from flan_jax.tasks import InstructionTask
from flan_jax.tasks.metrics import name_of
from flan_jax.tasks.recipe import Request
from flan_jax.tasks.rendering import Renderer
from flan_jax.tasks.templates import Template
from flan_jax.tasks.variants import Variant

FOLDER = pathlib.Path(__file__).parents[2] / "testdata" / "flan2021"
DATASETS = tuple((cluster, name) for cluster, names in suite.CLUSTERS.items() for name in names.split())


def tasks_of(cluster: str, name: str) -> tuple[InstructionTask, ...]:
    """The tasks of a dataset's file."""
    return importlib.import_module(f"flan_jax.mixtures.flan2021.{cluster}.{name}").TASKS


TASKS = {task.name: task for dataset in DATASETS for task in tasks_of(*dataset)}


def each_template(task: InstructionTask) -> Iterator[tuple[str, Template]]:
    """What each of a task's templates is for, and the template."""
    for kind in ("templates", "inverted_templates", "held_out_templates"):
        for number, template in enumerate(getattr(task, kind), 1):
            yield f"{kind.removesuffix('s').replace('_', ' ')} {number}", template


def rendered(task: InstructionTask, template: Template, row: dict) -> Iterator[tuple[str, str, list[str] | None]]:
    """Prompt, targets and what each option would give, of a row under a template; nothing where it is left out."""
    kind = "plain" if template.direction == "forward" else "inverted"
    of_one = {"templates": (template,)} if kind == "plain" else {"inverted_templates": (template,)}
    alone = dataclasses.replace(task, option_styles=("dashes",), shuffle_options=False, **of_one)
    for draft in Renderer(Variant(alone, task.name, kind), "train", Request({})).drafts([("sample", row)]):
        yield draft.inputs, draft.targets, draft.options


def golden(task: InstructionTask) -> str:
    """The text of one task."""
    scored = ", ".join(map(name_of, Variant(task, task.name).metrics))
    parts = [f"{task.name} ({task.cluster}), scored by {scored}"]
    for what, template in each_template(task):
        ((inputs, targets, options),) = rendered(task, template, dict(task.source.sample))
        choices = "" if options is None else f"\n[of: {' | '.join(options)}]"
        parts.append(f"--- {what}\n{inputs}\n>>> {targets}{choices}")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Writes all files."""
    FOLDER.mkdir(exist_ok=True)
    for cluster, name in DATASETS:
        text = "\n\n".join(map(golden, tasks_of(cluster, name)))
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
