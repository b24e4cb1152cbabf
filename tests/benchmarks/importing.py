"""Host memory while a large folder is imported: what the process holds beside the model itself.

    python tests/benchmarks/importing.py [--gigabytes 3] [--devices 8] [--param_dtype bfloat16] [--keep FOLDER]

Writes a Llama-shaped folder of random bfloat16 weights in shards, imports it in a process of its own, and prints that
process's memory, anonymous (its own) and file-backed (pages of the files, which the system takes back at will) apart,
sampled every 5 ms. On CPU the parameters themselves lie in the host's memory, so they are taken off.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

WIDTH, MLP, HEADS, VOCAB = 2048, 8192, 32, 32_000


def memory() -> dict[str, int]:
    """This process's resident bytes, anonymous and file-backed."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    values = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return {name: int(values[key]) * 1024 for name, key in (("anonymous", "RssAnon"), ("file", "RssFile"))}


class Watch(threading.Thread):
    """The largest memory seen while it runs."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.going = memory(), True

    def run(self):
        while self.going:
            self.peak = {name: max(value, self.peak[name]) for name, value in memory().items()}
            time.sleep(0.005)


def write_folder(folder: pathlib.Path, gigabytes: float) -> None:
    """A folder of about so many gigabytes, in shards of at most half a gigabyte."""
    from flan_jax.models.hugging_face.families import model_config
    from flan_jax.models.hugging_face.names import placements
    from flan_jax.models.hugging_face.safetensors_file import write

    a_layer = 2 * (4 * WIDTH * WIDTH + 3 * WIDTH * MLP)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCAB,
        "hidden_size": WIDTH,
        "intermediate_size": MLP,
        "num_attention_heads": HEADS,
        "num_hidden_layers": max(1, round((gigabytes * 1e9 - 4 * VOCAB * WIDTH) / a_layer)),
    }
    places, rng, shards = placements(model_config(config)), np.random.default_rng(0), [[]]
    for place in places:
        if sum(2 * int(np.prod(one.file_shape)) for one in shards[-1]) > 5e8:
            shards.append([])
        shards[-1].append(place)
    weight_map = {}
    for number, shard in enumerate(shards):
        name = f"model-{number + 1:05}-of-{len(shards):05}.safetensors"
        weight_map |= {place.tensor: name for place in shard}
        values = (rng.standard_normal(place.file_shape, np.float32) for place in shard)
        write(folder / name, {place.tensor: ("BF16", place.file_shape) for place in shard}, values)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "config.json").write_text(json.dumps(config))


def measure(folder: str, devices: int, param_dtype: str) -> None:
    """Imports in this process and prints what it took."""
    import dataclasses

    import jax

    from flan_jax.models.hugging_face import load_params, read_folder
    from flan_jax.parallel.mesh import make_mesh

    found = read_folder(folder)
    config = dataclasses.replace(found.model, param_dtype=param_dtype)
    mesh = make_mesh({"fsdp": max(devices // 2, 1), "tensor": min(devices, 2)})
    before, watch = memory(), Watch()
    watch.start()
    began = time.perf_counter()
    params = jax.block_until_ready(load_params(found, config, mesh))
    seconds = time.perf_counter() - began
    watch.going = False
    watch.join()
    held = sum(shard.data.nbytes for leaf in jax.tree.leaves(params) for shard in leaf.addressable_shards)
    files = sum(entry.size for entry in found.tensors.values())
    largest = max(entry.size for entry in found.tensors.values())
    after = memory()
    mega = lambda value: f"{value / 1e6:8.0f} MB"
    print(f"{devices} devices, {dict(mesh.shape)}, parameters in {param_dtype}, {seconds:.1f} s")
    for name, value in (
        ("files", files),
        ("largest tensor, in its file", largest),
        ("parameters on the devices", held),
        ("anonymous before", before["anonymous"]),
        ("anonymous peak", watch.peak["anonymous"]),
        ("anonymous peak less before and parameters", watch.peak["anonymous"] - before["anonymous"] - held),
        ("anonymous after less before and parameters", after["anonymous"] - before["anonymous"] - held),
        ("file-backed before", before["file"]),
        ("file-backed peak less before", watch.peak["file"] - before["file"]),
    ):
        print(f"  {name:<44}{mega(value)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=3.0)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--param_dtype", default="bfloat16")
    parser.add_argument("--measure", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options.measure, options.devices[0], options.param_dtype)
    folder = pathlib.Path(tempfile.mkdtemp())
    try:
        write_folder(folder, options.gigabytes)
        for devices in options.devices:
            env = {
                **os.environ,
                "JAX_PLATFORMS": "cpu",
                "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
            }
            command = [sys.executable, __file__, "--measure", str(folder), "--devices", str(devices)]
            subprocess.run([*command, "--param_dtype", options.param_dtype], env=env, check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
