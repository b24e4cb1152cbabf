"""Registers tasks where seqio is: the built-in mixtures, the user's modules, the files of `--data`."""

import dataclasses
import importlib
import os
import pathlib
import pkgutil
import sys
from collections.abc import Sequence

from flan_jax.data.request import WorkerSetup
from flan_jax.errors import UserError, users_line


def import_module(name: str) -> None:
    """Imports a user's module; what is wrong with it is told in a sentence that names it."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(
                f"module {name!r} was not found; --module wants a module's dotted name, found from the folder you "
                f"are in ({os.getcwd()}) or from what is installed"
            ) from None
        raise UserError(f"module {name!r} imports {error.name!r}, which is not installed") from error


def import_mixtures() -> None:
    """Imports every module of `flan_jax.mixtures` that can be; each only declares."""
    import flan_jax.mixtures
    import flan_jax.tasks

    for name in flan_jax.tasks.__all__:  # all that tasks may come to use is there when it is seen what was imported
        getattr(flan_jax.tasks, name)
    for module in pkgutil.walk_packages(flan_jax.mixtures.__path__, "flan_jax.mixtures."):
        if not module.name.endswith(".__main__"):
            flan_jax.mixtures.module_or_none(module.name)


def register_tasks(setup: WorkerSetup) -> None:
    """Registers the built-in mixtures, the user's modules and the files of `--data` in this process.

    Raises:
      UserError: a module is missing or cannot be imported.
    """
    sys.path += [folder for folder in setup.folders if folder not in sys.path]
    try:
        from flan_jax.tasks import run_form, task_folders
        from flan_jax.tasks.sources import corpus

        # Before any task is registered.
        run_form.use(run_form.RunForm(setup.vocabulary or None, setup.form))
        corpus.use(corpus.RunCorpora(setup.corpora, setup.on_missing_corpus))
        import_mixtures()
        for name in setup.modules:
            import_module(name)
        task_folders.register(setup.corpora)
        if setup.data_files:
            _register_files(setup)
        corpus.check_names(_corpora() | task_folders.names())
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"importing the task modules failed: {type(error).__name__}: {error}{users_line(error)}"
        ) from error


def _corpora() -> set[str]:
    """The names of the corpora that tasks declare."""
    from flan_jax.tasks import registry
    from flan_jax.tasks.sources import Corpus

    sources = (getattr(registry.declared(name), "source", None) for name in registry.names())
    return {source.name for source in sources if isinstance(source, Corpus)}


def watched_files(modules: Sequence[str]) -> list[str]:
    """Source files whose change may change tasks: flan_jax's own, the user's, whatever is not installed."""
    installed = tuple(str(pathlib.Path(p)) for p in (sys.prefix, sys.base_prefix))
    tops = {name.split(".")[0] for name in modules}
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py"):
            continue
        ours = name.startswith(("flan_jax.tasks", "flan_jax.text", "flan_jax.mixtures"))
        if ours or name.split(".")[0] in tops or not file.startswith(installed):
            found.append(os.path.abspath(file))
    return sorted(set(found))


def _register_files(setup: WorkerSetup) -> None:
    """Registers the files of `--data`, once: one as the task `user_data`, several as a mixture of that name."""
    import seqio

    from flan_jax.tasks import rates
    from flan_jax.tasks.formats import files as formats

    if "user_data" in {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}:
        return
    files = setup.data_files
    fields = dict(setup.data_fields) or None
    several = [f"user_data_{number}" for number in range(len(files))]
    names = several if len(files) > 1 else ["user_data"]
    for file, name in zip(files, names, strict=True):
        task = formats.task_from_file(file, name, fields=fields, validation_rows=setup.data_held_out)
        if len(files) > 1 and hasattr(task, "may_be_empty"):
            task = dataclasses.replace(task, may_be_empty=True)
        task.register()
    if len(files) > 1:
        rates.mixture("user_data", names)
