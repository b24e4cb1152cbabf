"""A model ready to be asked: parameters on a mesh, and jitted functions that rank options or write answers."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from flan_jax.models import decoding
from flan_jax.parallel.mesh import batch_sharding
from flan_jax.training.loss import losses_of


@dataclasses.dataclass(frozen=True)
class Asked:
    """A model as evaluation sees it.

    Attributes:
      graph: its graph, from `nnx.split`.
      params: its parameters, placed on `mesh`; a tuple where they come in parts, such as adapters and their base.
      mesh: the mesh.
      eos_id: the token that ends an answer.
    """

    graph: Any
    params: Any
    mesh: Mesh
    eos_id: int

    def with_params(self, params: Any) -> "Asked":
        """The same model with other parameters; nothing is compiled anew."""
        return dataclasses.replace(self, params=params)

    def option_scores(self, inputs: np.ndarray, options: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities of answer options.

        Args:
          inputs: int32 [B, Lp], 0-padded prompts.
          options: int32 [B, O, Lo], 0-padded options; one of zeros only is no option and gets -inf.

        Returns:
          float32 [B, O] summed log-probability, int32 [B, O] tokens.
        """
        score = _jitted(self.graph, self.mesh, "score_options", ())
        sums, lengths = score(self.params, *self._placed(inputs, options))
        return np.asarray(sums), np.asarray(lengths)

    def answers(self, inputs: np.ndarray, max_new_tokens: int, sampling: Mapping[str, Any] | None = None) -> np.ndarray:
        """Writes answers, greedily or by sampling.

        Args:
          inputs: int32 [B, Lp], 0-padded prompts.
          max_new_tokens: N.
          sampling: `seed`, `temperature`, `top_k` and `top_p` to sample; None is greedy.

        Returns:
          int32 [B, N], 0 after the end.
        """
        if sampling is None:
            write = _jitted(self.graph, self.mesh, "greedy", (max_new_tokens, self.eos_id))
            return np.asarray(write(self.params, *self._placed(inputs))[0])
        fixed = (max_new_tokens, self.eos_id, sampling["temperature"], sampling["top_k"], sampling["top_p"])
        write = _jitted(self.graph, self.mesh, "sample", fixed)
        return np.asarray(write(self.params, *self._placed(inputs), jax.random.key(sampling["seed"]))[0])

    def loss(self, batch: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """Summed cross-entropy and summed loss weight of a batch, laid out as in training."""
        names = tuple(sorted(batch))
        total, weight = _jitted(self.graph, self.mesh, "loss", names)(
            self.params, *self._placed(*(batch[name] for name in names))
        )
        return float(total), float(weight)

    def _placed(self, *arrays: np.ndarray) -> list[jax.Array]:
        """Every host has the whole batch, and keeps its devices' rows."""
        sharding = batch_sharding(self.mesh)
        return [jax.make_array_from_callback(array.shape, sharding, array.__getitem__) for array in arrays]


@functools.lru_cache(maxsize=64)
def _jitted(graph: Any, mesh: Mesh, name: str, fixed: tuple[Any, ...]) -> Any:
    """One jitted function for each way of asking; shapes beyond that are jit's own."""

    def ask(params: Any, *arrays: jax.Array) -> Any:
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            model = nnx.merge(graph, *(params if isinstance(params, tuple) else (params,)))
            if name == "score_options":
                return decoding.score_options(model, *arrays)
            if name == "loss":
                batch = dict(zip(fixed, arrays, strict=True))
                losses = losses_of(model, batch)
                weights = batch["decoder_loss_weights"]
                return jnp.sum(jnp.where(weights > 0, losses.tokens * weights, 0.0)), jnp.sum(weights)
            if name == "greedy":
                return decoding.greedy(model, arrays[0], *fixed)
            new_tokens, eos_id, temperature, top_k, top_p = fixed
            inputs, key = arrays
            return decoding.sample(
                model, inputs, new_tokens, eos_id, key, temperature=temperature, top_k=top_k, top_p=top_p
            )

    return jax.jit(ask, out_shardings=NamedSharding(mesh, PartitionSpec()))
