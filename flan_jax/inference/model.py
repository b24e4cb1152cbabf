"""A model ready to be asked: parameters on a mesh, and jitted functions that rank options or write answers."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import NotFinite, UserError
from flan_jax.inference import decoding
from flan_jax.inference.decoding import Decoded
from flan_jax.inference.decoding.beams import check_beams
from flan_jax.inference.decoding.tokens import Choice, Progress, check_sampling, row_keys
from flan_jax.models.model import Model
from flan_jax.parallel.mesh import batch_sharding
from flan_jax.training.loss import CROSS_ENTROPY, token_losses

SHORTEST = 128  # padding of prompts is cut off down to this length, or twice it, four times it, ...
CHUNK = 16  # tokens made between two looks for what ends an answer besides its tokens


@dataclasses.dataclass(frozen=True)
class Writing:
    """How answers are written: greedily, unless there are beams or a temperature.

    Attributes:
      max_new_tokens: the longest answer, in tokens.
      min_new_tokens: the shortest.
      num_beams: answers that are followed at once, the best of which is given; 1: no search.
      length_penalty: in a search, scores are divided by length to this power.
      early_stopping: in a search, when it ends; see `decoding.beam_search`.
      temperature: 0 takes the most probable token; otherwise tokens are drawn after logits were divided by it.
      top_k: draw among the k most probable tokens; 0: all.
      top_p: draw among the most probable tokens that hold this much probability.
      seed: the same seed draws the same answer to the same prompt in the same row.
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def check(self) -> None:
        """Refuses what no answer can be written by.

        Raises:
          UserError: names the settings to change.
        """
        if self.max_new_tokens < 1:
            raise UserError(f"max_new_tokens is {self.max_new_tokens}, wanted 1 or more")
        check_beams(self.num_beams, self.early_stopping)
        if self.temperature != 0:
            check_sampling(self.temperature, self.top_k, self.top_p)
            if self.num_beams > 1:
                raise UserError(
                    f"num_beams is {self.num_beams} and temperature {self.temperature}: a beam search draws nothing; "
                    "set num_beams to 1 or temperature to 0"
                )


@dataclasses.dataclass(frozen=True)
class Asked:
    """A model as evaluation sees it.

    Attributes:
      graph: its graph, from `nnx.split`.
      params: its parameters, placed on `mesh`; a tuple where they come in parts, such as adapters and their base.
      mesh: the mesh.
      eos_id: the token that ends an answer, or several.
    """

    graph: Any
    params: Any
    mesh: Mesh
    eos_id: int | Sequence[int]

    @functools.cached_property
    def laid_out(self) -> tuple[Any, Any]:
        """Graph and parameters of the model as it is decoded with."""
        if jax.default_backend() != "cpu":
            return self.graph, self.params
        with jax.sharding.use_abstract_mesh(self.mesh.abstract_mesh):
            return _lay_out(self.graph, self.params)

    def with_params(self, params: Any) -> "Asked":
        """The same model with other parameters; nothing is compiled anew."""
        return dataclasses.replace(self, params=params)

    def option_scores(self, inputs: np.ndarray, options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of answer options.

        Args:
          inputs: int32 [B, Lp], prompts padded with -1.
          options: int32 [B, O, Lo], options padded with -1; one of -1 only is no option and gets -inf.

        Returns:
          float32 [B, O] summed log-probability, int32 [B, O] tokens.
        """
        score = _jitted(self.graph, self.mesh, "score_options", ())
        sums, lengths = score(self.params, *self._placed(fitted(inputs), options))
        return _numbers(np.asarray(sums)), np.asarray(lengths)

    def answers(
        self,
        inputs: np.ndarray,
        how: Writing,
        *,
        ended: Callable[[np.ndarray], np.ndarray] | None = None,
        first_row: int = 0,
    ) -> Decoded:
        """Writes answers.

        Args:
          inputs: int32 [B, Lp], prompts padded with -1. Padding that none needs is cut off (see `fitted`).
          how: greedily, by sampling or by beams.
          ended: looks at the tokens made so far, int32 [B, N], -1 where there are none yet, and says of each row
            whether it needs no more, bool [B]. Asked every `CHUNK` tokens, so an answer may be longer than it wanted;
            not asked in a search by beams.
          first_row: which row of all that is to be answered is the first; rows draw by their number in all.

        Returns:
          Arrays on the host: tokens [B, N], -1 after the end; scores [B]; token_scores [B, N].

        Raises:
          UserError: on settings that do not go together.
        """
        how.check()
        ends = np.atleast_1d(np.asarray(self.eos_id, np.int32))
        placed = self._placed(fitted(inputs))
        graph, params = self.laid_out
        if how.num_beams > 1:
            fixed = (how.max_new_tokens, how.num_beams, how.early_stopping, how.min_new_tokens)
            search = _jitted(graph, self.mesh, "beam_search", fixed)
            found = search(params, *placed, ends, how.length_penalty)
            found = jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], found)
            _numbers(found.token_scores)
            return found
        rules = (how.temperature > 0, how.top_k, how.top_p < 1, how.min_new_tokens > 0)
        given = (ends, how.min_new_tokens, how.seed, first_row, how.temperature or 1.0, how.top_p)
        begin = _jitted(graph, self.mesh, "begin", (*rules, how.max_new_tokens))
        advance = _jitted(graph, self.mesh, "advance", rules)
        progress = begin(params, *placed, *given)
        limit = how.max_new_tokens
        stopped = np.zeros(len(inputs), bool)
        for until in range(CHUNK, limit + CHUNK, CHUNK) if ended else [limit]:
            progress = advance(params, progress, *placed, *self._placed(stopped), min(until, limit), *given)
            if ended is None or bool(np.all(progress.done)):
                break
            stopped = ended(np.asarray(progress.tokens))
            if np.all(stopped | np.asarray(progress.done)):
                break
        written = jax.tree.map(np.asarray, progress.decoded())
        _numbers(written.token_scores)
        return written

    def loss(self, batch: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """Summed cross-entropy and summed loss weight of a batch, laid out as in training."""
        names = tuple(sorted(batch))
        total, weight = _jitted(self.graph, self.mesh, "loss", names)(
            self.params, *self._placed(*(batch[name] for name in names))
        )
        return float(_numbers(total)), float(weight)

    def row_losses(self, batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """Summed cross-entropy of each row of a batch, float32 [B], each token by its loss weight."""
        names = tuple(sorted(batch))
        losses = _jitted(self.graph, self.mesh, "row_losses", names)(
            self.params, *self._placed(*(batch[name] for name in names))
        )
        return np.asarray(losses)

    def _placed(self, *arrays: np.ndarray) -> list[jax.Array]:
        """Every host has the whole batch, and keeps its devices' rows."""
        sharding = batch_sharding(self.mesh)
        return [jax.make_array_from_callback(array.shape, sharding, array.__getitem__) for array in arrays]


def _numbers(scores: Any) -> Any:
    """The scores, where they are numbers: of logits that are not finite they are not, and no answer means anything."""
    if np.isnan(scores).any():
        raise NotFinite(
            "the model's logits are not finite, so it has no answers and no scores: its parameters are spoilt; take an "
            "earlier checkpoint with --step, or train it anew with a lower LEARNING_RATE"
        )
    return scores


def fitted(inputs: np.ndarray) -> np.ndarray:
    """Prompts with some of their padding cut off, to the least of a few lengths that holds them all.

    >>> [fitted(np.full((2, 700), -1)).shape[1], fitted(np.full((2, 700), 5)).shape[1]]
    [128, 700]
    """
    longest = int((inputs >= 0).sum(axis=1).max(initial=0))
    length = SHORTEST
    while length < longest:
        length *= 2
    return inputs[:, :length]


def _merged(graph: Any, params: Any) -> Model:
    return nnx.merge(graph, *(params if isinstance(params, tuple) else (params,)))


@functools.partial(jax.jit, static_argnums=0)
def _lay_out(graph: Any, params: Any) -> tuple[Any, Any]:
    return nnx.split(decoding.laid_out(_merged(graph, params)))


@functools.lru_cache(maxsize=64)
def _jitted(graph: Any, mesh: Mesh, name: str, fixed: tuple[Any, ...]) -> Any:
    """One jitted function for each way of asking; shapes beyond that are jit's own."""

    def choice(rows: int, ends: Any, shortest: Any, seed: Any, first_row: Any, temperature: Any, top_p: Any) -> Choice:
        drawn, top_k, filtered, barred = fixed[:4]
        return Choice(
            ends,
            shortest if barred else None,
            row_keys(jax.random.key(seed), rows, first_row) if drawn else None,
            temperature,
            top_p if filtered else None,
            top_k=top_k,
        )

    def ask(params: Any, *arrays: Any) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            model = _merged(graph, params)
            if name == "score_options":
                return decoding.score_options(model, *arrays)
            if name in ("loss", "row_losses"):
                batch = dict(zip(fixed, arrays, strict=True))
                losses = token_losses(model(batch), batch["decoder_target_tokens"], CROSS_ENTROPY)
                weights = batch["decoder_loss_weights"]
                losses = jnp.where(weights > 0, losses * weights, 0.0)
                return jnp.sum(losses, axis=1) if name == "row_losses" else (jnp.sum(losses), jnp.sum(weights))
            if name == "beam_search":
                inputs, ends, penalty = arrays
                longest, beams, early, shortest = fixed
                return decoding.beam_search(
                    model,
                    inputs,
                    longest,
                    ends,
                    beams,
                    length_penalty=penalty,
                    early_stopping=early,
                    min_new_tokens=shortest,
                )
            if name == "begin":
                inputs, *given = arrays
                return decoding.begin(model, inputs, fixed[-1], choice(len(inputs), *given))
            progress, inputs, stopped, until, *given = arrays
            progress = dataclasses.replace(progress, done=progress.done | stopped)
            return decoding.advance(model, inputs, progress, choice(len(inputs), *given), until)

    replicated = NamedSharding(mesh, PartitionSpec())
    if name not in ("begin", "advance"):
        return jax.jit(ask, out_shardings=replicated)
    shardings = Progress(replicated, None, replicated, replicated, replicated)  # type: ignore[arg-type]
    return jax.jit(ask, out_shardings=shardings, donate_argnums=(1,) if name == "advance" else ())
