"""The rows of eval mixtures, straight from their sources: all of a split, also what is not prepared or not scored."""

from collections.abc import Callable, Iterator, Sequence

from flan_jax.data.hygiene import words
from flan_jax.data.hygiene.overlaps import EvalRow
from flan_jax.data.preparing.resolving import members
from flan_jax.errors import UserError, nearest
from flan_jax.files import filesystem


def tasks_of(mixtures: Sequence[str], split: str, setting: str) -> list[str]:
    """The tasks of eval mixtures, each once.

    Args:
      mixtures: their names.
      split: the split that is scored.
      setting: what named them, for errors.

    Raises:
      UserError: there is no such mixture, or a task without that split.
    """
    from flan_jax.tasks import examples

    names = list(dict.fromkeys(name for mixture in mixtures for name in members(mixture, setting)))
    for name in names:
        if split not in (known := examples.splits(name)):
            raise UserError(
                f"{setting}: task {name!r} has no split {split!r} (it has {', '.join(known)}){nearest(split, known)}; "
                f"set Evaluation.split, or name another mixture"
            )
    return names


def files_of(names: Sequence[str]) -> list[str]:
    """The files that tasks are read from."""
    from flan_jax.tasks import examples

    return [filesystem.absolute(path) for name in names for path in examples.source_files(name)]


def rows_of(
    names: Sequence[str], split: str, told: Callable[[int, str], None], skipped: list[str]
) -> Iterator[tuple[EvalRow, str, str]]:
    """The rows of tasks, each with its normalised prompt and answer; tasks of one declaration are read once.

    Args:
      names: the tasks.
      split: their split.
      told: told how many tasks are done, and which is next.
      skipped: gets the names of tasks whose data cannot be read.
    """
    from flan_jax.tasks import examples

    read = set()
    for done, name in enumerate(names):
        told(done, name)
        if (declared := examples.describe(name)["task"]) in read:
            continue
        read.add(declared)
        exchanged = is_exchanged(name)
        place = _placer(name, split)
        try:
            for content in examples.contents(name, split):
                prompt, answer = words.normalised(content.prompt), words.normalised(content.answer)
                if exchanged:
                    prompt, answer = answer, prompt
                text = f"{content.prompt} -> {content.answer}" if content.answer else content.prompt
                salt = words.salt_of(content.instruction)
                yield EvalRow(name, content.id, place(content.row), text, salt), prompt, answer
        except UserError:  # scoring it will tell what is wrong
            skipped.append(name)
    told(len(names), "")


def is_exchanged(task: str) -> bool:
    """Whether a task shows the answer and asks for the rest, so that what it says is compared the other way round."""
    from flan_jax.tasks import examples

    return examples.describe(task).get("kind") == "inverted"


def _placer(task: str, split: str) -> Callable[[str], str]:
    from flan_jax.tasks import registry

    recipe = registry.recipe(task)
    if recipe is None:
        return lambda row_id: row_id
    source = recipe.source
    return lambda row_id: source.where(split, row_id)
