"""Our side's tasks, as a user's module declares them: a JSON Lines file each, and the mixture of the first N."""

import engine_data

from flan_jax.tasks import InstructionTask, jsonl, mixture

WORK, TASKS, VOCABULARY = engine_data.from_environment()
FILES = [WORK / "jsonl" / f"task_{number:05d}.jsonl" for number in range(TASKS)]
FILES += sorted((WORK / "jsonl").glob("single_*.jsonl"))

for path in FILES:
    how = {"templates": ("{prompt}",), "vocabulary": VOCABULARY, "trim_from": "middle"}
    InstructionTask(name=path.stem, source=jsonl(path), **how).register()

mixture(f"ours_{TASKS}", [path.stem for path in FILES[:TASKS]])
