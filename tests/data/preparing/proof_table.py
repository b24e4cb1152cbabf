"""The proof of the mask over every file of a folder that `--data` reads.

`python -m tests.data.preparing.proof_table FOLDER` prints it, once with the starter's SentencePiece vocabulary and once
with a tokenizer that has a chat template.
"""

import argparse
import os
import pathlib
import tempfile

from flan_jax import tables
from flan_jax.data.preparing.proof import Proof
from flan_jax.data.wrong_masks import wrong_in, wrong_words
from flan_jax.errors import UserError
from flan_jax.tasks import Tally, task_from_file
from flan_jax.tasks.examples import examples
from tests.tokenizer_folders import byte_level

LENGTHS = {"inputs": 512, "targets": 256}


def row(path: pathlib.Path, name: str, vocabulary: str) -> tuple[list[object], list[str]]:
    """Examples, share of tokens trained and failures of a file; and what is said of the first ones."""
    task_from_file(path, name, vocabulary=vocabulary).register()
    tally, tokens, trained = Tally(), 0, 0
    proof = Proof(name, "train", tally, "drop")
    for one in proof(examples(name, "train", LENGTHS, on_bad_row="skip", tally=tally)):
        tokens += len(one.inputs) + len(one.targets)
        trained += len(one.targets) if one.weights is None else int((one.weights > 0).sum())
    wrong = wrong_in(vars(tally))
    return [tally.proved, tables.Share(trained / max(1, tokens)), wrong_words(wrong) or "-", tally.bad_rows], proof.said


def main() -> None:
    """Prints the table, and what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder, body, said = parser.parse_args().folder, [], []
    with tempfile.TemporaryDirectory() as made:
        vocabularies = ["starter", str(byte_level(pathlib.Path(made) / "chatty"))]
        paths = [pathlib.Path(at) / name for at, _, names in os.walk(folder) for name in names]
        for number, path in enumerate(sorted(paths)):
            found: list[object] = []
            try:
                for which, vocabulary in enumerate(vocabularies):
                    figures, wrong = row(path, f"file_{number}_{which}", vocabulary)
                    found, said = found + figures, said + wrong
            except UserError as fault:
                print(f"not read: {path.relative_to(folder)}: {str(fault)[:150]}")
                continue
            body.append([str(path.relative_to(folder)), *found])
    heads = ["file", *["examples", "trained", "wrong", "bad rows"] * 2]
    print(tables.table(heads, body))
    print("\n".join(said))


if __name__ == "__main__":
    main()
