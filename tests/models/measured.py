"""What is compared of a model in a Hugging Face folder, measured here without torch.

`tests/parity` measures the same by transformers and compares; `tests/testdata/golden` keeps what it measured.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from flan_jax.config.training_settings import OptimizerConfig
from flan_jax.inference import decoding
from flan_jax.models import ModelConfig, abstract_model
from flan_jax.models.hugging_face import Folder, load_params, read_folder, save_folder
from flan_jax.models.hugging_face.names import placements
from flan_jax.models.hugging_face.safetensors_file import opened
from flan_jax.parallel.mesh import make_mesh
from flan_jax.training.objective import likelihood
from flan_jax.training.optimizer import learning_rate_schedule, make_optimizer
from flan_jax.training.state import abstract_state, create_state, state_sharding
from flan_jax.training.step import make_train_step, place_batch
from tests.models.batches import Example, rows

STEPS = 20
OPTIMIZER = OptimizerConfig(learning_rate=3e-3, weight_decay=0.1)
LENGTHS = ((9, 7), (3, 5), (6, 9), (2, 3))
INPUTS, TARGETS = 13, 12  # the room of a row; a decoder has both in one
PROMPTS, NEW_TOKENS = (9, 4, 1, 6, 7), 8
NOISY = ("q_norm.weight", "k_norm.weight")
FIGURES = "figures.npz"
RESERVED = 3  # ids that no example holds: padding and whatever a family begins and ends with


@dataclasses.dataclass(frozen=True)
class Search:
    """Settings of a beam search."""

    num_beams: int = 3
    length_penalty: float = 0.6
    early_stopping: bool | str = False


SEARCH = Search()


class Figures(NamedTuple):
    """What a model gave.

    Attributes:
      padded: logits of every token of the first step's examples, one after another, each in a row of its own. [N, V]
      packed: the same with examples packed into rows; transformers has them unpacked.
      gradient: of the mean loss, by the tensors' names in the file and in their layout.
      losses: of `STEPS` steps of AdamW, each before its step.
      greedy: answers to the prompts, -1 after their end.
      beam: the best answer that `SEARCH` finds for each.
      scores: those answers' scores.
    """

    padded: np.ndarray
    packed: np.ndarray
    gradient: dict[str, np.ndarray]
    losses: np.ndarray
    greedy: np.ndarray
    beam: np.ndarray
    scores: np.ndarray


def draw(lengths: tuple[int, ...], vocab: int, seed: int) -> list[np.ndarray]:
    """Texts of these lengths; `RandomState`, whose stream NumPy never changes."""
    state = np.random.RandomState(seed)
    return [state.randint(RESERVED, vocab, length).astype(np.int32) for length in lengths]


def examples_of(vocab: int, step: int) -> list[Example]:
    """The examples of a step, (inputs, targets) each."""
    texts = draw(tuple(length for pair in LENGTHS for length in pair), vocab, step)
    return list(zip(texts[::2], texts[1::2], strict=True))


def prompts_of(vocab: int) -> list[np.ndarray]:
    """The prompts, of several lengths."""
    return draw(PROMPTS, vocab, STEPS)


def batch_of(config: ModelConfig, step: int) -> dict[str, np.ndarray]:
    """A step's examples twice in one batch: each in a row of its own, then packed in two."""
    one = examples_of(config.vocab_size, step)
    batch = rows([*([example] for example in one), one[:2], one[2:]], config, INPUTS, TARGETS)
    return batch | {"decoder_task_ids": np.zeros_like(batch["decoder_segment_ids"])}


class Ours:
    """A folder's model, read by us."""

    def __init__(self, folder: Folder, *, quick: bool = True):
        """Reads the folder.

        Args:
          folder: from `read_folder`.
          quick: whether to compile without optimising, in a fraction of the time.
        """
        self.config = dataclasses.replace(folder.model, dtype="float32", dropout_rate=0.0)
        self.params = load_params(folder, self.config)
        self.graph = nnx.split(abstract_model(self.config), nnx.Param)[0]
        self.quick = quick

    def figures(self, eos_id: int, search: Search | None = SEARCH) -> Figures:
        """Measures all; no search: without beams.

        Args:
          eos_id: what ends an answer.
          search: how beams are searched.
        """
        padded, packed = self.logits(batch_of(self.config, 0))
        gradient, losses = self.train()
        greedy, beam, scores = self.answers(eos_id, search)
        return Figures(padded, packed, gradient, losses, greedy, beam, scores)

    def logits(self, batch: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Logits of the examples' tokens: of the padded rows, of the packed rows."""
        found = np.asarray(_compiled(_logits, self.graph, quick=self.quick)(self.params, batch))
        there = batch["decoder_segment_ids"] > 0
        count = len(LENGTHS)
        return found[:count][there[:count]], found[count:][there[count:]]

    def answers(self, eos_id: int, search: Search | None = SEARCH) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Greedy answers to the prompts, those of a beam search (the same without one), and their scores."""
        prompts = padded_prompts(self.config.vocab_size)
        run = _compiled(_answers, self.graph, search, quick=self.quick)
        greedy, found = run(self.params, prompts, np.int32(eos_id))
        return np.asarray(greedy.tokens), np.asarray(found.tokens), np.asarray(found.scores)

    def train(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The first step's gradient, and the losses of `STEPS` steps."""
        config, params = self.config, self.params
        step, tx, mesh = _train_step(config, self.quick)
        state = create_state(params, tx, mesh)
        gradient, losses = None, []
        for number in range(STEPS):
            state, metrics = step(state, place_batch(batch_of(config, number), mesh))
            gradient = gradient or in_file_layout(state["opt"][0], config)
            losses.append(float(metrics["loss_sum"] / metrics["weight_sum"]))
        assert gradient is not None
        return gradient, np.array(losses)


@functools.cache
def _compiled(function: Callable[..., Any], *static: Any, quick: bool) -> Callable[..., Any]:
    return jax.jit(functools.partial(function, *static), compiler_options=compiler_options(quick))


def compiler_options(quick: bool) -> dict[str, Any]:
    """Options with which XLA compiles such small models for CPU in a fraction of the time."""
    if not quick or jax.default_backend() != "cpu":
        return {}
    return {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


@functools.cache
def _train_step(config: ModelConfig, quick: bool) -> tuple[Callable[..., Any], Any, Any]:
    """The product's own step, compiled; its optimiser also keeps the gradient; and the mesh."""
    keep = optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params), lambda updates, kept, params=None: (updates, updates)
    )
    mesh = make_mesh({"data": 1}, jax.devices()[:1])
    graph, params = nnx.split(abstract_model(config), nnx.Param)
    # Before clipping, so that the state holds the gradient itself.
    tx = optax.chain(keep, make_optimizer(OPTIMIZER, STEPS, params))
    state = abstract_state(params, tx, mesh)
    step = make_train_step(
        likelihood(graph),
        tx,
        mesh=mesh,
        state_shardings=state_sharding(state, mesh),
        schedule=learning_rate_schedule(OPTIMIZER, STEPS),
        num_tasks=1,
        dropout=False,
    )
    lowered = step.lower(state, place_batch(batch_of(config, 0), mesh))
    return lowered.compile(compiler_options=compiler_options(quick)), tx, mesh


def _logits(graph: Any, params: Any, batch: dict[str, np.ndarray]) -> jax.Array:
    return nnx.merge(graph, params)(batch)


def _answers(graph: Any, search: Search | None, params: Any, prompts: np.ndarray, eos_id: jax.Array) -> Any:
    model = nnx.merge(graph, params)
    greedy = decoding.greedy(model, prompts, NEW_TOKENS, eos_id)
    if search is None:
        return greedy, greedy
    found = decoding.beam_search(model, prompts, NEW_TOKENS, eos_id, **dataclasses.asdict(search))
    return greedy, jax.tree.map(lambda best: best[:, 0], found)


def padded_prompts(vocab: int) -> np.ndarray:
    """The prompts in one array, -1 behind them."""
    texts = prompts_of(vocab)
    return np.stack([np.pad(text, (0, max(PROMPTS) - len(text)), constant_values=-1) for text in texts])


def in_file_layout(params: Any, config: ModelConfig) -> dict[str, np.ndarray]:
    """Parameters, or what has their shapes, as tensors by their names in a folder."""
    leaves = {path: np.asarray(leaf.get_value()) for path, leaf in nnx.to_flat_state(params)}
    return {
        place.tensor: place.to_file(leaves[place.path] if place.layer is None else leaves[place.path][place.layer])
        for place in placements(config)
    }


def changed_by_a_round_trip(folder: Folder, target: pathlib.Path) -> list[str]:
    """Imports a folder and exports it again; the tensors that came out otherwise, bit for bit, or not at all."""
    layout = {name: entry.code for name, entry in folder.tensors.items()}
    save_folder(target, load_params(folder), folder.model, folder.raw, dtype=None, layout=layout)
    back = read_folder(target)
    changed = sorted(folder.tensors.keys() ^ back.tensors.keys())
    for name in folder.tensors.keys() & back.tensors.keys():
        with opened(folder.tensors[name]) as one, opened(back.tensors[name]) as other:
            if (one.dtype, one.shape, one.tobytes()) != (other.dtype, other.shape, other.tobytes()):
                changed.append(name)
    return changed


def differences(ours: Figures, theirs: Figures) -> dict[str, float]:
    """How far figures are apart: relative to the largest of each array, or for tokens how many differ."""
    assert ours.gradient.keys() == theirs.gradient.keys()
    return {
        "padded": relative(ours.padded, theirs.padded),
        "packed": relative(ours.packed, theirs.packed),
        "loss": relative(ours.losses[:1], theirs.losses[:1]),
        "gradient": max(relative(ours.gradient[name], value) for name, value in theirs.gradient.items()),
        "adamw": float(np.max(np.abs(ours.losses - theirs.losses) / np.abs(theirs.losses))),
        "greedy": int(np.sum(ours.greedy != theirs.greedy)),
        "beam": int(np.sum(ours.beam != theirs.beam)),
        "scores": relative(ours.scores, theirs.scores),
    }


def gradients_apart(ours: Figures, theirs: Figures) -> dict[str, float]:
    """The parameters whose gradients are further apart than rounding allows, each relative to its own largest value.

    That is 1e-5, but 1e-4 for the scales of query and key norms: each is one sum over all tokens and heads, whose terms
    nearly cancel (the scale and the projection before it undo each other), so that both sides' rounding shows.
    """
    apart = {name: relative(ours.gradient[name], value) for name, value in theirs.gradient.items()}
    return {name: far for name, far in apart.items() if far >= (1e-4 if name.endswith(NOISY) else 1e-5)}


def relative(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def write_figures(folder: pathlib.Path, figures: Figures, eos_id: int) -> None:
    """Keeps a model's figures beside it; of the logits, which are the same packed and padded, only one set."""
    parts = figures._asdict() | {"eos_id": np.int32(eos_id)}
    del parts["packed"], parts["gradient"]
    parts |= {f"gradient/{name}": value for name, value in figures.gradient.items()}
    np.savez_compressed(folder / FIGURES, **parts)


def read_figures(folder: pathlib.Path) -> tuple[Figures, int]:
    """The figures of a folder, and what ended the answers."""
    with np.load(folder / FIGURES) as kept:
        parts = dict(kept)
    gradient = {name.removeprefix("gradient/"): value for name, value in parts.items() if "/" in name}
    rest = {name: value for name, value in parts.items() if name in Figures._fields}
    return Figures(packed=parts["padded"], gradient=gradient, **rest), int(parts["eos_id"])
