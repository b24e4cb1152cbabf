"""The data that both sides are measured on: real prompts, cut into as many tasks of equal size as are wanted.

work folder   t0.model              the vocabulary, learnt once from the prompts
              jsonl/task_00000.jsonl …      {"prompt", "answer"}: what our tasks read
              tfrecord/task_00000 …         the same rows as tf.train.Example: what seqio's tasks read
              stores/                       our token stores
"""

import json
import os
import pathlib
import random
from collections.abc import Iterator

import engine_process

REAL = pathlib.Path(__file__).parents[3] / "shared" / "data"
END = "<|endoftext|>"


def real_rows(data: pathlib.Path) -> list[tuple[str, str]]:
    """(prompt, answer) of all usable rows; the trec files have no answers."""
    folder = data / "t0_train_50k"
    found = []
    for path in sorted(folder.glob("*.jsonl")):
        if path.stem.startswith("trec_"):
            continue
        with path.open() as file:
            for line in file:
                row = json.loads(line)
                answer = row["completion"].removesuffix(END).strip()
                if answer:
                    found.append((row["prompt"].strip(), answer))
    if not found:
        raise SystemExit(f"no *.jsonl in {folder}; name the folder that holds t0_train_50k with --data")
    return found


def endless(rows: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """All rows in a shuffled order, then all in another one, and so on; the same at every call."""
    cycle = 0
    while True:
        order = list(range(len(rows)))
        random.Random(cycle).shuffle(order)
        yield from (rows[i] for i in order)
        cycle += 1


def write_tasks(work: str, data: str, tasks: int, examples: int) -> None:
    """In a child: writes the JSONL files of the first `tasks` tasks, unless they are there."""
    folder = pathlib.Path(work) / "jsonl"
    done = folder / f"done-{examples}"
    if done.exists() and int(done.read_text()) >= tasks:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = endless(real_rows(pathlib.Path(data)))
    for number in range(tasks):
        lines = (json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in (next(rows) for _ in range(examples)))
        path = folder / f"task_{number:05d}.jsonl"
        text = "".join(lines)
        if not path.exists() or path.stat().st_size != len(text):  # what is prepared from it stays good
            path.write_text(text)
    done.write_text(str(tasks))


def write_single(work: str, data: str, examples: int) -> None:
    """In a child: writes one task of many examples, to see how memory grows with its size."""
    path = pathlib.Path(work) / "jsonl" / f"single_{examples}.jsonl"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = endless(real_rows(pathlib.Path(data)))
    with path.with_suffix(".partial").open("w") as file:
        file.writelines(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in (next(rows) for _ in range(examples)))
    path.with_suffix(".partial").rename(path)


def environment(work: pathlib.Path, tasks: int, vocabulary: str) -> dict[str, str]:
    """What the task modules read: see `engine_tasks.py` and `engine_seqio_tasks.py`."""
    return {"BENCH_WORK": str(work), "BENCH_TASKS": str(tasks), "BENCH_VOCABULARY": vocabulary}


def from_environment() -> tuple[pathlib.Path, int, str]:
    """The same, read back."""
    return pathlib.Path(os.environ["BENCH_WORK"]), int(os.environ["BENCH_TASKS"]), os.environ["BENCH_VOCABULARY"]


if __name__ == "__main__":
    engine_process.answer({"tasks": write_tasks, "single": write_single})
