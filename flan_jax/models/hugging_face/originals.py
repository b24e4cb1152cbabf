"""What a run keeps of the folder that its model came from, in `hugging_face/` of its own: everything but the weights.

With it an export gives the same config.json, tokenizer and chat template back, and tensors of the same names and types.
"""

import pathlib
import shutil
from collections.abc import Mapping, Sequence

from flan_jax.errors import UserError
from flan_jax.files import atomic
from flan_jax.models.hugging_face.folder import CONFIG, Folder, is_folder, read_folder
from flan_jax.models.hugging_face.safetensors_file import DTYPES
from flan_jax.text.tokenizer_fields import read_json
from flan_jax.text.tokenizer_files import TOKENIZER_FILES
from flan_jax.text.tokenizer_folder import GENERATION, named_ends

KEPT = "hugging_face"
LAYOUT = "tensors.json"
BESIDE_WEIGHTS = (GENERATION, *TOKENIZER_FILES)


def keep(source: str | pathlib.Path, run_dir: str | pathlib.Path) -> None:
    """Copies a folder's small files into a run's folder; nothing is done where they are there already.

    Args:
      source: what the run starts from: a folder of Hugging Face's kind, or a run that keeps one. Others have nothing.
      run_dir: the run's folder.
    """
    source, target = pathlib.Path(source), pathlib.Path(run_dir) / KEPT
    if (target / LAYOUT).is_file():
        return
    if is_folder(source):
        keep_of(read_folder(source), run_dir)
    elif (source / KEPT / LAYOUT).is_file():
        copy_files(source / KEPT, target, (CONFIG, *BESIDE_WEIGHTS, LAYOUT))


def keep_of(folder: Folder, run_dir: str | pathlib.Path) -> None:
    """As `keep`, of a folder that was looked at already."""
    target = pathlib.Path(run_dir) / KEPT
    copy_files(folder.path, target, (CONFIG, *BESIDE_WEIGHTS))
    # Last, so that a copy that was cut off is made anew.
    atomic.write_json(target / LAYOUT, {name: entry.code for name, entry in folder.tensors.items()})


def extend(tokenizer: str | pathlib.Path, vocab_size: int, run_dir: str | pathlib.Path) -> None:
    """Has what a run keeps tell of its own tokenizer and rows, where it adds to those of the folder it came from.

    Args:
      tokenizer: the folder of the run's tokenizer.
      vocab_size: rows of its embedding.
      run_dir: the run's folder; nothing is done where it keeps nothing.
    """
    source, target = pathlib.Path(tokenizer), pathlib.Path(run_dir) / KEPT
    if not (target / LAYOUT).is_file():
        return
    copy_files(source, target, TOKENIZER_FILES)
    for name in TOKENIZER_FILES:
        if not (source / name).is_file():
            (target / name).unlink(missing_ok=True)
    raw = read_json(target / CONFIG)
    if raw.get("vocab_size") != vocab_size:
        atomic.write_json(target / CONFIG, {**raw, "vocab_size": vocab_size})


def layout(run_dir: str | pathlib.Path) -> Mapping[str, str] | None:
    """The type of each tensor of the folder that a run's model came from; None where it came from none.

    Raises:
      UserError: the file that says so is damaged.
    """
    path = pathlib.Path(run_dir) / KEPT / LAYOUT
    found = read_json(path)
    wrong = next((name for name, code in found.items() if not (isinstance(code, str) and code in DTYPES)), None)
    if wrong is not None or (not found and path.exists()):
        seen = "it names no tensor" if wrong is None else f"{wrong} is {found[wrong]!r}, wanted {', '.join(DTYPES)}"
        raise UserError(
            f"{path} is damaged ({seen}); delete it, and the run's own `flan-jax train` command writes it anew, or "
            "import the folder into another run"
        )
    return found or None


def copy_files(source: pathlib.Path, target: pathlib.Path, names: tuple[str, ...]) -> None:
    """Copies those of the named files that a folder has, each whole or not at all."""
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (source / name).is_file():
            partial = target / f"{name}{atomic.PARTIAL}"
            shutil.copyfile(source / name, partial)
            partial.replace(target / name)


def add_ends(folder: str | pathlib.Path, eos_ids: Sequence[int]) -> None:
    """Has a folder's generation config stop at all tokens that end an answer; it is left alone where it does.

    The chat template of a base model may end its turns by a token that its generation config does not name (Qwen 2.5).
    """
    path = pathlib.Path(folder) / GENERATION
    generation = read_json(path)
    known = list(named_ends(folder)) if path.is_file() else []
    ends = list(dict.fromkeys([*known, *eos_ids]))
    if ends != known:
        atomic.write_json(path, {**generation, "eos_token_id": ends if len(ends) > 1 else ends[0]})


def copy_beside(run_dir: str | pathlib.Path, folder: str | pathlib.Path) -> list[str]:
    """Copies tokenizer, chat template and generation config out of a run's folder; gives the names that it found."""
    source = pathlib.Path(run_dir) / KEPT
    copy_files(source, pathlib.Path(folder), BESIDE_WEIGHTS)
    return [name for name in BESIDE_WEIGHTS if (source / name).is_file()]
