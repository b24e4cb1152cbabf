"""The options that each subcommand has beside those of all, as `argparse` takes them."""

from collections.abc import Callable
from typing import Any

from flan_jax.config.macros import read_number, read_steps, read_whole

Option = tuple[str, dict[str, Any]]
"""A flag, or the name of a word that stands without one, and what `add_argument` takes by name; under "read" what turns
the text into the value."""


def _value(flag: str, read: Callable[[str], Any], metavar: str, help: str, default: Any = None) -> Option:
    return flag, {"read": read, "metavar": metavar, "help": help, "default": default}


def _switch(flag: str, help: str) -> Option:
    return flag, {"action": "store_true", "help": help}


def _again(flag: str, metavar: str, help: str) -> Option:
    return flag, {"action": "append", "default": [], "metavar": metavar, "help": help}


def _word(name: str, metavar: str, help: str) -> Option:
    return name, {"metavar": metavar, "help": help}


def _two(flag: str, metavar: tuple[str, str], help: str) -> Option:
    return flag, {"nargs": 2, "metavar": metavar, "help": help}


_STEP = _value("--step", read_whole, "N", "the step looked at (a checkpoint's; the latest by default)")
_SPLIT = _value("--split", str, "NAME", "the split of the data")
_RUN = _word("run", "RUN", "the folder of a run")

OWN: dict[str, tuple[Option, ...]] = {
    "import": (
        _word("folder", "HF_FOLDER", "a folder with config.json, safetensors and a tokenizer"),
        _value("--output", str, "FOLDER", "the run's folder (runs/ and the folder's name)"),
        _value("--base", str, "FOLDER", "where HF_FOLDER is an adapter of PEFT's: its base, if it does not name one"),
    ),
    "export": (
        _RUN,
        _word("folder", "HF_FOLDER", "the folder to make"),
        (
            "--dtype",
            {
                "choices": ("float32", "bfloat16", "float16"),
                "help": "of the weights (float32; as they came where nothing was trained)",
            },
        ),
        _switch("--adapter", "write the run's adapters alone, as a folder that PEFT loads"),
        _STEP,
    ),
    "average": (
        _RUN,
        _word("output", "OUTPUT", "the folder to make"),
        _value("--last", read_whole, "N", "take the N newest checkpoints (all that are there)"),
        _value("--checkpoints", read_steps, "STEP,STEP", "take the checkpoints of these steps"),
    ),
    "eval": (
        _STEP,
        _SPLIT,
        _switch("--each_template", "score each row under each of its templates"),
    ),
    "sweep": (
        _value("--write", str, "FILE", "write a launch command for each run, to be started elsewhere; train nothing"),
        _switch("--report", "print the table of what is finished; train nothing"),
        _again("--show", "TASK", "show this task's score too, beside the groups'; may be given again"),
    ),
    "compare": (
        _word("before", "BEFORE", "the folder of the run that AFTER started from"),
        _word("after", "AFTER", "the folder of the run that is judged"),
        _again(
            "--repeats", "RUN", "a run of AFTER's recipe with another seed, for the noise floor; may be given again"
        ),
        _switch("--forgot", "end with 1 if something was forgotten"),
        _switch("--json", "print the comparison as JSON"),
    ),
    "rescore": (
        _word("answers", "ANSWERS", "a run, a folder of its samples/, or the file of one task in it"),
        _again(
            "--metric", "PACKAGE.FUNCTION", "a metric: (targets, predictions) -> {name: figure}; may be given again"
        ),
        _switch("--json", "print the figures as JSON"),
    ),
    "generate": (
        _STEP,
        _value("--prompt", str, "TEXT", "one prompt; the answer is printed"),
        _value("--prompts", str, "FILE", "a JSONL file of prompts; run again, it goes on where it stopped"),
        _value("--output", str, "FILE", "where the answers to --prompts go, as JSONL"),
        _switch("--score", "give the log-probability of each row's targets"),
        _value("--max_new_tokens", read_whole, "N", "the longest answer, in tokens"),
        _value("--temperature", read_number, "X", "0 (the default) takes the likeliest token, 1 samples as trained"),
        _value("--top_k", read_whole, "N", "with --temperature: among the N likeliest tokens; 0: all"),
        _value(
            "--top_p", read_number, "X", "with --temperature: among the likeliest tokens that hold this probability"
        ),
        _value("--num_beams", read_whole, "N", "answers followed at once, the best of which is given; 1: no search"),
        _value(
            "--length_penalty", read_number, "X", "with beams: above 0 (1) favours long answers, below 0 short ones"
        ),
        _again("--stop", "TEXT", "a text that ends an answer"),
        _switch("--scores", "give the log-probabilities of each answer too"),
    ),
    "plan": (
        _switch("--json", "print the plan as JSON"),
        _switch("--estimate", "from a sample of the sources, without preparing"),
        _two(
            "--compare",
            ("A.gin", "B.gin"),
            "show the plans of two gin files side by side; all other flags hold for both",
        ),
    ),
    "prepare": (
        _value("--teacher", str, "RUN", "a run, or a Hugging Face folder, that reads all of it, for Distillation"),
        _switch("--repair", "first read the stores to the last byte; mend them"),
        _value("--difficulty", str, "RUN", "measure by this run's model how difficult each example is (Curriculum.by)"),
        (
            "--runner",
            {"choices": ("local", "beam"), "default": "local", "help": "what prepares: this machine, or Apache Beam"},
        ),
        ("beam_options", {"nargs": "*", "metavar": "-- FLAGS", "help": "what follows -- is for Apache Beam"}),
    ),
    "inspect": (
        _STEP,
        _SPLIT,
        _value("--task", str, "NAME", "show this task, straight from its source"),
        _value("--num", read_whole, "N", "how many examples or rows", 3),
        _switch("--dropped", "show what Hygiene leaves out, and why"),
    ),
    "tasks": (
        ("query", {"nargs": "?", "default": "", "help": "show only names or clusters that hold this word"}),
        _switch("--check", "look for faults in the templates of these tasks"),
        _two(
            "--overlap",
            ("TRAIN", "EVAL"),
            "show which rows of one mixture share words in a row, or a prompt, with rows of the other",
        ),
        _value("--ngram", read_whole, "N", "with --overlap: how many words in a row (13; 8 shows more)"),
        _value("--num", read_whole, "N", "with --overlap: how many rows are shown of each pair of tasks (3)"),
    ),
    "vocab": (
        _value("--size", read_whole, "N", "how many pieces", 8000),
        _value("--output", str, "FILE", "where the model goes", "vocabulary.model"),
        _value("--max_examples", read_whole, "N", "learn from so many examples at most, all tasks alike", 10000),
    ),
}
