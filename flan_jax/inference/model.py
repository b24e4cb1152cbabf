"""A model to ask: parameters on a mesh, and functions, compiled once each, that rank options or generate answers."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.errors import NotFinite
from flan_jax.inference import decoding
from flan_jax.inference.decoding import Decoded
from flan_jax.inference.decoding.tokens import Choice, Progress, row_keys
from flan_jax.inference.generation import GenerationConfig
from flan_jax.inference.prompts import filled_up, trimmed
from flan_jax.models.model import Model
from flan_jax.parallel.mesh import row_sharding

STOP_PERIOD = 16  # tokens made between two looks for what ends an answer besides its tokens
_PROGRAMS = 16  # models whose programs are kept


@dataclasses.dataclass(frozen=True)
class InferenceModel:
    """A model to ask.

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

    def with_params(self, params: Any) -> "InferenceModel":
        """The same model with other parameters; nothing is compiled anew."""
        return dataclasses.replace(self, params=params)

    def score_options(self, inputs: np.ndarray, options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of answer options.

        Args:
          inputs: int32 [B, Lp], prompts padded with -1. Padding that none needs is cut off (see `prompts.trimmed`).
          options: int32 [B, O, Lo], options padded with -1; one of -1 only is no option and gets -inf.

        Returns:
          float32 [B, O] summed log-probability, int32 [B, O] tokens.

        Raises:
          NotFinite: the logits are not.
        """
        score = _option_scorer(self.graph, self.mesh)
        sums, lengths = score(self.params, *self.placed(trimmed(inputs), options))
        return refuse_nan(np.asarray(sums)), np.asarray(lengths)

    def generate(
        self,
        inputs: np.ndarray,
        generation: GenerationConfig,
        *,
        ended: Callable[[np.ndarray], np.ndarray] | None = None,
        first_row: int = 0,
    ) -> Decoded:
        """Generates answers.

        Args:
          inputs: int32 [B, Lp], prompts padded with -1. Padding that none needs is cut off (see `prompts.trimmed`).
          generation: greedily, by sampling or by beams.
          ended: looks at the tokens made so far, int32 [B, N], -1 where there are none yet, and says of each row
            whether it needs no more, bool [B]. Asked every `STOP_PERIOD` tokens, so an answer may be longer than it
            wanted; not asked in a search by beams.
          first_row: which row of all that is to be answered is the first; rows draw by their number in all.

        Returns:
          Arrays on the host: tokens [B, N], -1 after the end; scores [B]; token_scores [B, N].

        Raises:
          UserError: on settings that do not go together.
          NotFinite: the logits are not finite.
        """
        generation.check()
        placed = self.placed(trimmed(inputs))
        if generation.num_beams > 1:
            found = self._search(placed, generation)
        else:
            found = self._continue(placed, generation, ended, first_row)
        refuse_nan(found.token_scores)
        return found

    def generate_all(
        self, prompts: Sequence[np.ndarray], generation: GenerationConfig, *, length: int, batch_size: int
    ) -> list[tuple[np.ndarray, float]]:
        """Generates an answer to each of any number of prompts, batch by batch.

        Args:
          prompts: int32 [Lp] each, of which the first `length` tokens are read.
          generation: as in `generate`.
          length: the longest prompt.
          batch_size: prompts that are answered at once; the mesh must divide it.

        Returns:
          Token ids up to and with the one that ends the answer, and their score, a pair a prompt.
        """
        answers: list[tuple[np.ndarray, float]] = []
        for start in range(0, len(prompts), batch_size):
            part = prompts[start : start + batch_size]
            found = self.generate(filled_up(part, (batch_size, length)), generation, first_row=start)
            rows = zip(found.tokens[: len(part)], found.scores[: len(part)], strict=True)
            answers += [(tokens[tokens >= 0], float(score)) for tokens, score in rows]
        return answers

    def placed(self, *arrays: np.ndarray) -> list[jax.Array]:
        """Arrays of a batch, [B, ...], on the mesh: every host has them whole, and keeps its devices' rows.

        Lengths stay whole: prompts and options are of any.
        """
        sharding = row_sharding(self.mesh)
        return [jax.make_array_from_callback(array.shape, sharding, array.__getitem__) for array in arrays]

    def _search(self, placed: list[jax.Array], generation: GenerationConfig) -> Decoded:
        """The best answer that beams find."""
        graph, params = self.laid_out
        fixed = _Search(
            generation.max_new_tokens, generation.num_beams, generation.early_stopping, generation.min_new_tokens
        )
        found = _beam_searcher(graph, self.mesh)(params, *placed, self._ends, generation.length_penalty, fixed)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[:, 0], found)

    def _continue(
        self,
        placed: list[jax.Array],
        generation: GenerationConfig,
        ended: Callable[[np.ndarray], np.ndarray] | None,
        first_row: int,
    ) -> Decoded:
        """Answers made token by token, until all have ended."""
        graph, params = self.laid_out
        given = self._choice(generation), (generation.seed, first_row) if generation.temperature > 0 else None
        limit, rows = generation.max_new_tokens, placed[0].shape[0]
        progress = _beginner(graph, self.mesh)(params, *placed, *given, limit)
        advance = _advancer(graph, self.mesh)
        stopped = np.zeros(rows, bool)
        for until in range(STOP_PERIOD, limit + STOP_PERIOD, STOP_PERIOD) if ended else [limit]:
            progress = advance(params, progress, *placed, *self.placed(stopped), min(until, limit), *given)
            if ended is None or bool(np.all(progress.done)):
                break
            stopped = ended(np.asarray(progress.tokens))
            if np.all(stopped | np.asarray(progress.done)):
                break
        return jax.tree.map(np.asarray, progress.decoded())

    def _choice(self, generation: GenerationConfig) -> Choice:
        """How the next token is chosen, but for the keys; what is None there is no part of the program."""
        return Choice(
            self._ends,
            generation.min_new_tokens or None,
            temperature=generation.temperature or 1.0,
            top_p=generation.top_p if generation.top_p < 1 else None,
            top_k=generation.top_k,
        )

    @property
    def _ends(self) -> Any:
        return np.atleast_1d(np.asarray(self.eos_id, np.int32))


def merged(graph: Any, params: Any) -> Model:
    """The model of a graph and its parameters, which may come in parts."""
    return nnx.merge(graph, *(params if isinstance(params, tuple) else (params,)))


def refuse_nan(scores: Any) -> Any:
    """The scores, where they are numbers: of logits that are not finite they are not, and no answer means anything.

    Raises:
      NotFinite: one of them is not a number.
    """
    if np.isnan(scores).any():
        raise NotFinite(
            "the model's logits are not finite, so it has no answers and no scores: its parameters are spoilt; take an "
            "earlier checkpoint with --step, or train it anew with a lower LEARNING_RATE"
        )
    return scores


@functools.partial(jax.jit, static_argnums=0)
def _lay_out(graph: Any, params: Any) -> tuple[Any, Any]:
    return nnx.split(decoding.laid_out(merged(graph, params)))


# Below, a function of a graph and a mesh makes a jitted one, which compiles once for each set of shapes and of what is
# static in it.


@functools.lru_cache(maxsize=_PROGRAMS)
def _option_scorer(graph: Any, mesh: Mesh) -> Any:
    """A jitted `(params, inputs, options) -> sums, lengths`."""

    def score(params: Any, inputs: jax.Array, options: jax.Array) -> tuple[jax.Array, jax.Array]:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return decoding.score_options(merged(graph, params), inputs, options)

    return jax.jit(score, out_shardings=_everywhere(mesh))


class _Search(NamedTuple):
    """What is fixed about a search by beams."""

    max_new_tokens: int
    num_beams: int
    early_stopping: bool | str
    min_new_tokens: int


@functools.lru_cache(maxsize=_PROGRAMS)
def _beam_searcher(graph: Any, mesh: Mesh) -> Any:
    """A jitted `(params, inputs, ends, length_penalty, search) -> Decoded`, of static `search`."""

    def find(params: Any, inputs: jax.Array, ends: Any, length_penalty: Any, search: _Search) -> Decoded:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return decoding.beam_search(
                merged(graph, params),
                inputs,
                search.max_new_tokens,
                ends,
                search.num_beams,
                length_penalty=length_penalty,
                early_stopping=search.early_stopping,
                min_new_tokens=search.min_new_tokens,
            )

    return jax.jit(find, static_argnums=4, out_shardings=_everywhere(mesh))


@functools.lru_cache(maxsize=_PROGRAMS)
def _beginner(graph: Any, mesh: Mesh) -> Any:
    """A jitted `(params, inputs, choice, draws, max_new_tokens) -> Progress`, of static `max_new_tokens`.

    It reads the prompts and makes the first token; for `draws` see `_with_keys`.
    """

    def begin(params: Any, inputs: jax.Array, choice: Choice, draws: Any, max_new_tokens: int) -> Progress:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            chosen_by = _with_keys(choice, draws, len(inputs))
            return decoding.begin(merged(graph, params), inputs, max_new_tokens, chosen_by)

    return jax.jit(begin, static_argnums=4, out_shardings=_progress_everywhere(mesh))


@functools.lru_cache(maxsize=_PROGRAMS)
def _advancer(graph: Any, mesh: Mesh) -> Any:
    """A jitted `(params, progress, inputs, stopped, until, choice, draws) -> Progress`, which uses `progress` up.

    It makes tokens until there are `until` of every row; rows that are `stopped` [B] get no more.
    """

    def advance(
        params: Any, progress: Progress, inputs: jax.Array, stopped: Any, until: Any, choice: Choice, draws: Any
    ) -> Progress:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            progress = dataclasses.replace(progress, done=progress.done | stopped)
            chosen_by = _with_keys(choice, draws, len(inputs))
            return decoding.advance(merged(graph, params), inputs, progress, chosen_by, until)

    return jax.jit(advance, donate_argnums=1, out_shardings=_progress_everywhere(mesh))


def _with_keys(choice: Choice, draws: tuple[Any, Any] | None, rows: int) -> Choice:
    """The choice with a key a row, of `draws`: a seed, and which row of all is the first; None draws nothing."""
    if draws is None:
        return choice
    seed, first_row = draws
    return dataclasses.replace(choice, keys=row_keys(jax.random.key(seed), rows, first_row))


def _everywhere(mesh: Mesh) -> NamedSharding:
    """The same on every device, so that every host can read it."""
    return NamedSharding(mesh, PartitionSpec())


def _progress_everywhere(mesh: Mesh) -> Progress:
    """Shardings of what is read on the host; the cache stays as the compiler has it."""
    every = _everywhere(mesh)
    return Progress(every, None, every, every, every)  # type: ignore[arg-type]
