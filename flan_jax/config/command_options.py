"""The options that one subcommand has to itself: their ranges, which go together, and what its function is called with.

An option that would do nothing is refused, so its default is None until `own_arguments` fills it in.
"""

import argparse
from typing import Any

from flan_jax.errors import UserError, together

_LEAST = {"max_new_tokens": 1, "last": 1, "top_k": 0, "num_beams": 1, "num": 1, "size": 1, "max_examples": 1}
_MOST = {"max_new_tokens": 1 << 22, "num_beams": 4096} | dict.fromkeys(
    ("step", "last", "top_k", "num", "size", "max_examples", "held_out"), 2**31 - 1
)
_SAMPLING = ("temperature", "top_k", "top_p")
_ANSWERING = ("max_new_tokens", *_SAMPLING, "num_beams", "length_penalty", "stop", "scores")
_UNSET = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "num_beams": 1, "length_penalty": 1.0, "ngram": 13, "num": 3}


def faults_of(command: str, options: argparse.Namespace) -> list[str]:
    """The faults of options that are out of their range, or would do nothing beside the others."""
    given = {name: value for name, value in vars(options).items() if value is not None}
    faults = [
        f"--{name} is {given[name]}, wanted {least} or more"
        for name, least in _LEAST.items()
        if given.get(name, least) < least
    ]
    faults += [
        f"--{name} is {given[name]:,}, wanted {most:,} or less"
        for name, most in _MOST.items()
        if given.get(name, most) > most
    ]
    first = 1 if command == "inspect" else 0
    if given.get("step", first) < first:
        of = "steps count from 1, as in metrics.jsonl" if first else "wanted the step of a checkpoint"
        faults.append(f"--step is {options.step}: {of}")
    if command == "inspect":
        if options.task is not None and options.step is not None:
            faults.append("--step shows what a run trained on, --task a task's source; keep one")
        if options.dropped and options.step is not None:
            faults.append("--dropped shows what no step trains on; leave --step out")
        if options.dropped and options.split is not None:
            faults.append("--dropped is of the split that is trained on; leave --split out")
        if options.task is None and options.split is not None:
            faults.append("--split goes with --task NAME; a run has the split that it trained on")
    if command == "generate":
        faults += _generate_faults(options)
    if command == "sweep" and options.report and options.write is not None:
        faults.append("--write is for what is to be trained, --report for what is finished; keep one")
    if command == "average" and options.last is not None and options.checkpoints is not None:
        faults.append("--last and --checkpoints both say which steps; keep one")
    if command == "tasks" and not options.overlap:
        faults += [f"--{name} goes with --overlap TRAIN EVAL" for name in ("ngram", "num") if name in given]
    if command == "tasks" and options.overlap and (options.query or options.check):
        faults.append("--overlap compares two mixtures; leave --check and other words out")
    if command == "tasks" and not 2 <= given.get("ngram", 13) <= 64:
        faults.append(f"--ngram is {options.ngram}, wanted 2 to 64 words")
    if command == "plan" and options.compare:
        if options.gin_file:
            faults.append(
                "--compare names the gin files of two runs; leave --gin_file out, and include what both share"
            )
        if options.compare[0] == options.compare[1]:
            faults.append(f"--compare has {options.compare[0]} twice; name two gin files")
    return faults + _data_faults(options)


def _data_faults(options: argparse.Namespace) -> list[str]:
    faults = []
    if options.data and options.macro_MIXTURE is not None:
        faults.append(f"--data trains on the file itself; leave --mixture {options.macro_MIXTURE} out, or --data")
    if options.fields and not options.data:
        faults.append("--fields names the columns of --data FILE, which is not given")
    if options.held_out is not None and not options.data:
        faults.append("--held_out keeps rows of --data FILE apart, which is not given")
    return faults


def _generate_faults(options: argparse.Namespace) -> list[str]:
    faults = []
    if options.prompt is not None and options.prompts is not None:
        faults.append("--prompt and --prompts are both given; keep one")
    if options.prompts is None:
        faults += [f"--{name} goes with --prompts FILE" for name in ("score", "output") if getattr(options, name)]
    if options.prompts == "":
        faults.append("--prompts is empty, wanted the name of a JSONL file")
    temperature, beams = options.temperature or 0.0, options.num_beams or 1
    if temperature < 0:
        faults.append(f"--temperature is {temperature}, wanted 0 (the likeliest token each time) or more")
    if options.top_p is not None and not 0 < options.top_p <= 1:
        faults.append(f"--top_p is {options.top_p}, wanted more than 0 and at most 1")
    if options.score:
        idle = [f"--{name}" for name in _ANSWERING if getattr(options, name) not in (None, False, [])]
        if idle:
            faults.append(f"--score writes no answers, so {', '.join(idle)} would do nothing; leave one of both out")
        return faults
    if temperature == 0:
        for name in ("top_k", "top_p"):
            if getattr(options, name) is not None:
                faults.append(f"--{name} only limits what is drawn, and nothing is: give --temperature above 0 with it")
    elif beams > 1:
        faults.append(
            f"--num_beams is {beams} and --temperature {temperature}: a beam search draws nothing; keep one of both"
        )
    if options.length_penalty is not None and beams <= 1:
        faults.append("--length_penalty weighs beams, and there is one: give --num_beams 2 or more with it")
    if "" in options.stop:
        faults.append("--stop is an empty text, which would end every answer at once; give it some letters")
    return faults


def own_arguments(command: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a subcommand takes besides the configuration, by the names of its function's parameters.

    Raises:
      UserError: options out of range, or that do not go together.
    """
    if faults := faults_of(command, options):
        raise UserError(together(faults))
    names = {
        "compare": ("before", "repeats", "forgot"),
        "eval": ("split", "step", "each_template"),
        "export": ("folder", "step", "dtype", "adapter"),
        "average": ("output", "last", "checkpoints"),
        "generate": (
            *("prompt", "output", "score", "max_new_tokens", "temperature", "top_k", "top_p"),
            *("num_beams", "length_penalty", "stop", "scores", "step"),
        ),
        "rescore": ("answers", "metric"),
        "inspect": ("task", "step", "num", "split", "dropped"),
        "plan": ("estimate",),
        "sweep": ("write", "report", "show", "words"),
        "prepare": ("runner", "beam_options", "repair", "difficulty", "teacher"),
        "tasks": ("query", "check", "overlap", "ngram", "num"),
        "vocab": ("size", "output", "max_examples"),
    }
    own = {name: getattr(options, name) for name in names.get(command, ())}
    own |= {name: value for name, value in _UNSET.items() if name in own and own[name] is None}
    if command in ("compare", "plan", "rescore"):
        own["as_json"] = options.json
    if command == "generate":
        own["prompts_file"] = options.prompts
    return own
