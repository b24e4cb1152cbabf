"""`flan-jax generate`: answers a prompt, a file of prompts, or whoever sits at the keyboard."""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from flan_jax import setup
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError, counted
from flan_jax.files.text_files import read_text
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.loading import load_text_generator
from flan_jax.inference.text_generator import SURROGATE, Completion, TextGenerator
from flan_jax.progress import Progress


def generate(
    config: RunConfig,
    prompt: str | None = None,
    prompts_file: str | None = None,
    output: str | None = None,
    score: bool = False,
    max_new_tokens: int | None = None,
    temperature: float = 0.0,
    top_k: int = 0,
    top_p: float = 1.0,
    num_beams: int = 1,
    length_penalty: float = 1.0,
    stop: Sequence[str] = (),
    scores: bool = False,
    step: int | None = None,
) -> int:
    """Answers prompts with a run's checkpoint.

    Args:
      config: the run, read back from its folder.
      prompt: one prompt; the answer is printed.
      prompts_file: JSONL rows with "inputs" (or "prompt"); the answers are appended to `output`, one row a row, so that
        a run that was interrupted goes on after the last whole one.
      output: by default beside the prompts, as NAME.answers.jsonl.
      score: give the log-probability of each row's "targets" instead of an answer.
      max_new_tokens: the longest answer; by default as long as targets in training.
      temperature: 0 is greedy.
      top_k: sample among the k likeliest; 0 for all.
      top_p: sample among the likeliest that hold this much probability.
      num_beams: answers that are followed at once; 1 for no search.
      length_penalty: above 0 a search favours long answers, below 0 short ones.
      stop: texts that end an answer, and are no part of it.
      scores: give each answer's score and its tokens' log-probabilities too.
      step: which checkpoint; by default the latest.
    """
    generation = GenerationConfig(
        config.feature_lengths["targets"] if max_new_tokens is None else max_new_tokens,
        num_beams=num_beams,
        length_penalty=length_penalty,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=config.seed,
    )
    generation.check()
    file = _PromptFile.read(pathlib.Path(prompts_file), output, score, scores) if prompts_file else None
    with setup.worker_of(config) as worker:
        generator = load_text_generator(config, generation, stop, step=step, ask=worker.call)
        if file:
            _answer_file(generator, file, score, scores, config.evaluation.batch_size)
        elif prompt is not None:
            _show(generator.complete([prompt])[0], scores)
        else:
            _converse(generator, scores)
    return 0


@dataclasses.dataclass(frozen=True)
class _PromptFile:
    """A file of prompts, and that of their answers.

    Attributes:
      rows: a dict a prompt.
      target: where the answers go.
      done: how many stand there already.
    """

    rows: list[dict[str, Any]]
    target: pathlib.Path
    done: int

    @classmethod
    def read(cls, path: pathlib.Path, output: str | None, score: bool, scores: bool) -> "_PromptFile":
        """Reads both, before any model is."""
        rows = list(_read_rows(path, score))
        target = pathlib.Path(output) if output else path.with_suffix(".answers.jsonl")
        if target.exists() and target.samefile(path):
            raise UserError(f"--output {target} is the file of prompts itself; give the answers another name")
        try:
            *lines, torn = target.read_bytes().split(b"\n") if target.exists() else [b""]
            target.open("a").close()
            if len(lines) > len(rows):
                raise UserError(
                    f"{target} has {counted(len(lines), 'answer')}, {path} has {counted(len(rows), 'prompt')}; "
                    "give another --output"
                )
            columns = ("log_probability",) if score else ("prediction", "score") if scores else ("prediction",)
            sound = [_is_answer(line, row, columns) for line, row in zip(lines, rows, strict=False)]
            if torn:
                sound.append(len(lines) < len(rows) and _is_torn(torn, rows[len(lines)]))
            if not all(sound):
                raise UserError(
                    f"{target}:{sound.index(False) + 1} holds no {' and '.join(columns)} of that prompt in {path}, and "
                    "is left as it is; give another --output, or move that file away"
                )
            if torn:
                os.truncate(target, target.stat().st_size - len(torn))
        except OSError as error:
            raise UserError(f"--output {target} cannot be written: {error.strerror}") from None
        return cls(rows, target, len(lines))


def _answer_file(
    generator: TextGenerator, prompt_file: _PromptFile, score: bool, scores: bool, batch_size: int
) -> None:
    rows, target, done = prompt_file.rows, prompt_file.target, prompt_file.done
    with target.open("a", encoding="utf-8") as file, Progress("answering", len(rows), done, "prompt", 100) as bar:
        for start in range(done, len(rows), batch_size):
            part = rows[start : start + batch_size]
            prompts = [row["inputs"] for row in part]
            if score:
                sums = generator.log_probabilities(prompts, [row["targets"] for row in part])
                found: list[dict[str, Any]] = [{"log_probability": value} for value in sums]
            else:
                found = [_columns(completion, scores) for completion in generator.complete(prompts, start)]
            for row, columns in zip(part, found, strict=True):
                file.write(_line({**row, **columns}) + "\n")
            file.flush()
            os.fsync(file.fileno())
            bar.update(start + len(part))
    print(f"{counted(len(rows), 'row')} in {target}")


def _columns(completion: Completion, scores: bool) -> dict[str, Any]:
    columns = {"score": completion.score, "token_scores": completion.token_scores} if scores else {}
    return {"prediction": completion.text, **columns}


def _show(completion: Completion, scores: bool) -> None:
    print(completion.text, flush=True)
    if scores:
        tokens = " ".join(f"{one:.4f}" for one in completion.token_scores)
        print(f"score {completion.score:.4f}; tokens {tokens}", flush=True)


def _read_rows(path: pathlib.Path, score: bool) -> Iterator[dict[str, Any]]:
    lines = read_text(path, "a JSONL file of prompts").split("\n")  # not at U+2028, which JSON allows in a text
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # RecursionError: a thousand brackets in each other
            raise UserError(f'{path}:{number} is not JSON; each line wants an object with "inputs"') from None
        if isinstance(row, dict) and "inputs" not in row and "prompt" in row:
            row["inputs"] = row["prompt"]
        wanted = ["inputs", "targets"] if score else ["inputs"]
        if not isinstance(row, dict) or any(not isinstance(row.get(name), str) for name in wanted):
            seen = sorted(row) if isinstance(row, dict) else type(row).__name__
            raise UserError(f"{path}:{number} has {seen}; each line wants text under {' and '.join(map(repr, wanted))}")
        if any(SURROGATE.search(row[name]) for name in wanted):
            raise UserError(f"{path}:{number} holds half of a pair of UTF-16 (\\ud800 to \\udfff), which is no text")
        yield row


def _is_answer(line: bytes, prompt: dict[str, Any], columns: Sequence[str]) -> bool:
    """Whether a line of answers has what is asked for, of this prompt."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return False
    asked = ("inputs", "targets") if "log_probability" in columns else ("inputs",)
    whole = isinstance(row, dict) and set(columns) <= set(row)
    return whole and all(row.get(name) == prompt[name] for name in asked)


def _is_torn(start: bytes, prompt: dict[str, Any]) -> bool:
    """Whether a last line without an end is one of ours: the first of this prompt's columns are told by it."""
    whole = _line(prompt).encode()
    length = min(len(start), len(whole) - 1)
    return start[:length] == whole[:length] or not {"prediction", "log_probability", "score"}.isdisjoint(prompt)


def _line(row: dict[str, Any]) -> str:
    """A row as it is written."""
    return SURROGATE.sub(lambda half: f"\\u{ord(half[0]):04x}", json.dumps(row, ensure_ascii=False))


def _converse(generator: TextGenerator, scores: bool) -> None:
    """Asks for prompts until the input ends."""
    prompted = sys.stdin.isatty()
    if prompted:
        print("Type a prompt and Enter; Ctrl-D ends.")
    while True:
        try:
            text = input("> " if prompted else "")
        except EOFError:
            return
        if text.strip():
            try:
                _show(generator.complete([text])[0], scores)
            except UserError as error:
                print(error, file=sys.stderr)
