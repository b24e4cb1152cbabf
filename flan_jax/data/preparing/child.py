"""The child process that holds seqio and TensorFlow: `flan_jax.data.worker.Worker` starts it and asks."""

import importlib
import json
import os
import sys
import threading
import time
from typing import Any

from flan_jax.data.preparing.registering import register_tasks
from flan_jax.data.request import Request, WorkerSetup
from flan_jax.errors import UserError
from flan_jax.files import opened

# What the parent may ask for, and the function that answers.
OPERATIONS = {
    "resolve": "flan_jax.data.preparing.resolving:resolve_in_child",
    "check evals": "flan_jax.data.preparing.resolving:check_evals_in_child",
    "members": "flan_jax.data.preparing.resolving:members_in_child",
    "select": "flan_jax.data.hygiene.selecting:select_in_child",
    "leaks": "flan_jax.data.hygiene.leaks:leaks_in_child",
    "overlaps": "flan_jax.data.hygiene.reporting:overlaps_in_child",
    "field numbers": "flan_jax.data.preparing.field_numbers:field_numbers_in_child",
    "prepare": "flan_jax.data.preparing.filling:prepare_in_child",
    "repair": "flan_jax.data.preparing.repair:repair_in_child",
    "estimate": "flan_jax.data.preparing.answers:estimate_in_child",
    "check templates": "flan_jax.data.preparing.listing:check_templates_in_child",
    "list": "flan_jax.data.preparing.listing:list_in_child",
    "preview": "flan_jax.data.preparing.answers:preview_in_child",
    "score": "flan_jax.data.preparing.answers:score_in_child",
    "vocabulary": "flan_jax.data.preparing.answers:vocabulary_in_child",
    "describe": "flan_jax.data.preparing.answers:describe_in_child",
    "encode": "flan_jax.data.preparing.answers:encode_in_child",
    "decode": "flan_jax.data.preparing.answers:decode_in_child",
}


def main() -> None:
    """Answers requests until standard input ends."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True, name="parent").start()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints goes to the log

    def reply(**message: Any) -> None:
        replies.write(json.dumps(message) + "\n")
        replies.flush()

    opened.watch()
    setup = WorkerSetup(**json.loads(sys.stdin.readline()))
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
            arguments = request["arguments"]
            if "request" in arguments:
                arguments["request"] = Request(**arguments["request"])
            result = answer(setup=setup, progress=lambda **p: reply(progress=p), **arguments)
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
