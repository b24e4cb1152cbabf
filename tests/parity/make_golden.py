"""Writes tests/testdata/golden anew: tiny models of every family, and what transformers gives for them.

    python -m tests.parity.make_golden

Run it in the environment of tests/parity/run.sh. `tests/models/test_golden.py` compares with it, without torch.
"""

import pathlib
import shutil

import torch
import transformers

from flan_jax.models.hugging_face import read_folder
from tests.models.measured import write_figures
from tests.parity import families, peer

GOLDEN = pathlib.Path(__file__).parents[1] / "testdata" / "golden"
README = """Tiny random models of every family, each a folder as transformers saves it, and in `figures.npz` what
transformers gives for them: logits, the gradient of the loss, the losses of 20 AdamW steps, greedy and beam answers
(`tests/models/measured.py` says of what). Made by `python -m tests.parity.make_golden` with torch {torch} and
transformers {transformers}.
"""


def main() -> None:
    """Writes every family's folder."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    for name in families.FAMILIES:
        folder = GOLDEN / name
        families.save(name, folder, families.GOLDEN)
        (folder / "generation_config.json").unlink(missing_ok=True)
        write_figures(folder, *peer.measure(folder, read_folder(folder).model))
        print(name, sum(path.stat().st_size for path in folder.iterdir()), flush=True)
    versions = {"torch": torch.__version__.partition("+")[0], "transformers": transformers.__version__}
    (GOLDEN / "README.md").write_text(README.format(**versions))


if __name__ == "__main__":
    main()
