"""Checksums of a checkpoint's files, by which a damaged one is told from a sound one."""

import json
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

CHECKSUMS = "checksums.json"
METRICS = "metrics.json"  # written after the checkpoint
REWRITTEN_AT_COMMIT = "_CHECKPOINT_METADATA"  # by Orbax


def read_object(path: Any) -> dict[str, Any]:
    """A file's JSON object; a `ValueError` where it holds anything else."""
    try:
        found = json.loads(path.read_text())
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("no object")
    return found


def checksums(root: Any, only: Mapping[str, Any] | None = None) -> dict[str, list[Any]]:
    """Size and CRC-32 of each file below a folder, by its name from there; of the files in `only` where given."""
    names = [name for name in _files(root) if only is None or name in only]

    def one(name: str) -> list[Any]:
        size, crc = 0, 0
        with (root / name).open("rb") as file:
            while chunk := file.read(1 << 22):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        return [size, f"{crc:08x}"]

    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def _files(folder: Any, prefix: str = "") -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            yield from _files(path, f"{prefix}{path.name}/")
        elif path.name not in (CHECKSUMS, METRICS, REWRITTEN_AT_COMMIT):
            yield prefix + path.name
