"""A child process: compiles a training step for a TPU topology and prints, as JSON, what its text says."""

import json
import math
import re
import sys
from typing import Any

import jax


def facts(text: str, vocab: int, tokens: int) -> dict[str, Any]:
    """What a compiled program's text says.

    Args:
      text: from `compiled.as_text()`.
      vocab: entries of the vocabulary.
      tokens: tokens on a device.

    Returns:
      kernels: calls of Mosaic kernels; logits: shapes with the vocabulary and as many rows as there are tokens;
      reduced, reduced_in_loops: shapes with the vocabulary that are summed over devices, outside and inside of loops;
      host: arrays that live in the host's memory.
    """
    bodies = set(re.findall(r"body=%?([\w.\-]+)", text))
    found: dict[str, Any] = {"logits": [], "reduced": [], "reduced_in_loops": []}
    computation = ""
    for line in text.splitlines():
        if start := re.match(r"^(?:ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            computation = start[1]
        reduced = re.search(r"= (.*?) (?:all-reduce|reduce-scatter)(?:-start)?\(", line)
        if reduced and str(vocab) in reduced[1]:
            found["reduced_in_loops" if computation in bodies else "reduced"].append(reduced[1])
    for shape in set(re.findall(r"\w+\[([\d,]+)\]", text)):
        sizes = [int(size) for size in shape.split(",")]
        if vocab in sizes and math.prod(sizes) >= vocab * tokens:
            found["logits"].append(shape)
    return found | {"kernels": text.count('custom_call_target="tpu_custom_call"'), "host": text.count("S(5)")}


def main() -> None:
    from flan_jax.parallel.ahead import topology_mesh
    from flan_jax.training.program import ahead

    request = json.loads(sys.argv[1])
    mesh = topology_mesh("v5e:4x4", request["mesh"])
    with jax.set_mesh(mesh):
        step, abstract = ahead(mesh, **request["arguments"])
        text = step.lower(*abstract).compile().as_text()
    print(json.dumps(facts(text, request["arguments"]["model"]["vocab_size"], request["tokens"])), flush=True)


if __name__ == "__main__":
    main()
