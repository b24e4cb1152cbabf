"""The child process that holds seqio and TensorFlow, and the parent's handle on it.

The training process imports neither (6 to 9 s and 0.8 GB); it asks this child, a line of JSON each way:

    parent → {"op": "resolve", "arguments": {...}}
    child  → {"progress": {...}} any number of times, then {"result": ...}, {"error": "a sentence"} or {"crash": "..."}

The child starts at the first call, imports the built-in mixtures and the user's modules, and lives until `close`.
"""

import contextlib
import importlib
import json
import os
import pathlib
import pkgutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flan_jax.errors import UserError, users_line
from flan_jax.files import filesystem, opened

# What the parent may ask for, and the function that answers.
OPERATIONS = {
    "resolve": "flan_jax.data.resolve:resolve_in_child",
    "check evals": "flan_jax.data.resolve:check_evals_in_child",
    "prepare": "flan_jax.data.preparing.prepare:prepare_in_child",
    "repair": "flan_jax.data.preparing.repair:repair_in_child",
    "estimate": "flan_jax.data.preparing.answers:estimate_in_child",
    "list": "flan_jax.data.registrations:list_in_child",
    "preview": "flan_jax.data.preparing.answers:preview_in_child",
    "score": "flan_jax.data.preparing.answers:score_in_child",
    "vocabulary": "flan_jax.data.preparing.answers:vocabulary_in_child",
    "describe": "flan_jax.data.preparing.answers:describe_in_child",
    "encode": "flan_jax.data.preparing.answers:encode_in_child",
    "decode": "flan_jax.data.preparing.answers:decode_in_child",
}


class Worker:
    """A child process with seqio in it.

    Args:
      modules: the user's modules, imported after the built-in mixtures.
      data_files: files given by `--data`; they are registered as the mixture `user_data`.
      data_fields: which column is which, where the files' rows are not recognised.
      data_vocabulary: the SentencePiece model that their tasks use; it may be made later.
      data_held_out: how many rows of each file become the validation split; None: a tenth, at most 50.
      folders: where the user's modules are found beside the folder one is in.
      beam_options: flags of Apache Beam, which then fills the stores; None fills them by processes of this machine.
      on_progress: called with each progress report {"what", "done", "total", "unit"}.
    """

    def __init__(
        self,
        modules: Sequence[str] = (),
        data_files: Sequence[str] = (),
        data_fields: Mapping[str, str] | None = None,
        data_vocabulary: str = "",
        data_held_out: int | None = None,
        folders: Sequence[str] = (),
        beam_options: Sequence[str] | None = None,
        on_progress: Callable[[dict], None] | None = None,
    ):
        self._setup: dict[str, Any] = {
            "modules": list(modules),
            "data_files": [filesystem.absolute(path) for path in data_files],
            "data_fields": dict(data_fields or {}),
            "data_vocabulary": data_vocabulary,
            "data_held_out": data_held_out,
            "folders": list(folders),
            "beam_options": None if beam_options is None else list(beam_options),
        }
        self._on_progress = on_progress
        self._process: subprocess.Popen | None = None
        self._lock = threading.Lock()

    @property
    def has_users_tasks(self) -> bool:
        """Whether it registers more than what comes with flan_jax."""
        return bool(self._setup["modules"] or self._setup["data_files"])

    @property
    def folders(self) -> list[str]:
        """Where it finds modules beside the folder one is in."""
        return self._setup["folders"]

    def start(self) -> None:
        """Starts the child without waiting for it; `call` does so by itself."""
        if self._process is not None:
            return
        # stdlib's "-m" puts the caller's folder on the path, so the user's modules are found as they are by Python.
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 (lives as long as the child)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flan_jax.data.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"},
            start_new_session=True,  # Ctrl-C is the parent's to handle
        )
        self._send(self._setup)

    def call(self, op: str, **arguments: Any) -> Any:
        """Asks the child for one operation and waits for its answer.

        Raises:
          UserError: the child says what the user can mend, or was killed.
          RuntimeError: the child failed in another way; its last output is in the message.
        """
        with self._lock:
            self.start()
            self._send({"op": op, "arguments": arguments})
            assert self._process is not None and self._process.stdout is not None
            for line in self._process.stdout:
                message = json.loads(line)
                if "progress" in message:
                    if self._on_progress:
                        self._on_progress(message["progress"])
                elif "error" in message:
                    raise UserError(message["error"])
                elif "crash" in message:
                    raise RuntimeError(f"the data process failed in {op!r}:\n{message['crash']}")
                else:
                    return message["result"]
            raise self._ended(f"during {op!r}")

    def close(self) -> None:
        """Ends the child."""
        if self._process is not None:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(BrokenPipeError):  # what it was never told, as it was dead already
                self._process.stdin.close()
            self._process.stdout.close()
            self._process = None
            self._log.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, message: Any) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended("early") from None

    def _ended(self, when: str) -> Exception:
        """What to raise where the child is no more."""
        if self._process is not None and self._process.wait() == -signal.SIGKILL:
            return UserError(
                f"the data process was killed {when}, perhaps for want of memory; run the same command again: it goes "
                f"on from what is done"
            )
        return RuntimeError(f"the data process ended {when}:\n{self._tail()}")

    def _tail(self) -> str:
        self._log.seek(0)
        return "".join(self._log.readlines()[-30:])


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
    """Imports every module of `flan_jax.mixtures`; each only declares."""
    import flan_jax.mixtures
    import flan_jax.tasks

    for name in flan_jax.tasks.__all__:  # all that tasks may come to use is there when it is seen what was imported
        getattr(flan_jax.tasks, name)
    for module in pkgutil.walk_packages(flan_jax.mixtures.__path__, "flan_jax.mixtures."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)


def register_tasks(setup: Mapping[str, Any]) -> None:
    """Registers the built-in mixtures, the user's modules and the files of `--data` in this process.

    Args:
      setup: "folders", "modules", "data_files", "data_fields", "data_vocabulary" and "data_held_out", as `Worker`
        takes them.

    Raises:
      UserError: a module is missing or cannot be imported.
    """
    sys.path += [folder for folder in setup["folders"] if folder not in sys.path]
    try:
        import_mixtures()
        for name in setup["modules"]:
            import_module(name)
        if setup["data_files"]:
            from flan_jax.data.preparing.answers import register_files

            files, fields = setup["data_files"], setup["data_fields"]
            register_files(files, fields, setup["data_vocabulary"], setup["data_held_out"])
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"importing the task modules failed: {type(error).__name__}: {error}{users_line(error)}"
        ) from error


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


def main() -> None:
    """Answers requests until standard input ends."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True, name="parent").start()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to the log

    def reply(**message: Any) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    opened.watch()
    setup = json.loads(sys.stdin.readline())
    failed: UserError | None = None
    try:
        register_tasks(setup)
    except UserError as error:
        failed = error
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if failed:
                raise failed
            module, function = OPERATIONS[request["op"]].split(":")
            answer = getattr(importlib.import_module(module), function)
            result = answer(setup=setup, progress=lambda **p: reply(progress=p), **request["arguments"])
            reply(result=result)
        except UserError as error:
            reply(error=str(error))
        except Exception:
            import traceback

            reply(crash=traceback.format_exc())


def _end_with(parent: int) -> None:
    """Ends this process soon after its parent, whatever it is at: it would go on holding locks and cores."""
    # The kernel's own signal for this comes when the parent's *thread* ends that started the process.
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


if __name__ == "__main__":
    main()
