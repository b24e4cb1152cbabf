"""The settings of low-rank adapters, and the modules that they may stand beside; read without JAX."""

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Literal

from flan_jax.errors import UserError, nearest, together
from flan_jax.models.config import ModelConfig

ALL_LINEAR = "all-linear"
BASE_DTYPES = ("auto", "float32", "bfloat16", "int8", "int4", "nf4")
QUANTISED = ("int8", "int4", "nf4")
PEFT_NAMES = {
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "out",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
}
"""PEFT's names of a decoder's projections, and ours."""


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters beside a frozen base (LoRA, Hu et al. 2021): y = x W + (dropout(x) A) B scale.

    Attributes:
      rank: columns of A; 0 trains the whole model instead.
      alpha: the scale is alpha / rank, or alpha / sqrt(rank) with `rs_lora`. None: twice the rank, so that the scale is
        2 for every rank; with `rs_lora`, whose scale already grows with the rank, 16.
      dropout: share of the adapter's inputs that is dropped in training; the base sees them all.
      targets: which projections have an adapter: "all-linear", or names of modules (one, several with commas, or a
        tuple), each the end of a path such as decoder.layers.self_attention.query, with * for anything. PEFT's names
        (q_proj, ..., down_proj) are understood.
      rs_lora: the rank-stabilised scale (rsLoRA, Kalajdzievski 2023).
      base_dtype: what the frozen weights are kept in: "float32", "bfloat16", or "auto" for what is computed in, which
        changes no result; "int8", "int4" and "nf4" quantise the layers' kernels (QLoRA, Dettmers et al. 2023), which
        does, and needs the extra `quant`.
      block: inputs that share a scale in "int4" and "nf4"; a kernel whose inputs it does not divide takes the largest
        size below that does. An "int8" kernel has a scale for each output.
      init_from: a folder of PEFT's kind, or of a run that trained adapters; the run goes on from that adapter, or with
        rank 0 from the model with it folded in. INIT_FROM is then its base. (INIT_FROM may name a folder of PEFT's as
        well, if that names its base; where it names a run of adapters, these are folded in.)
      rows: ids of tokens whose rows of the embedding, and of a head of its own, are trained too, in full; those of new
        SPECIAL_TOKENS are filled in. This costs a gradient of the whole table, as large as the table in float32.
    """

    rank: int = 0
    alpha: float | None = None
    dropout: float = 0.0
    targets: str | tuple[str, ...] = ALL_LINEAR
    rs_lora: bool = False
    base_dtype: Literal["auto", "float32", "bfloat16", "int8", "int4", "nf4"] = "auto"
    block: int = 64
    init_from: str | None = None
    rows: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        """Whether adapters are trained."""
        return self.rank > 0

    @property
    def scale(self) -> float:
        """What an adapter's product is multiplied by.

        >>> LoraConfig(rank=16).scale, LoraConfig(rank=16, alpha=8).scale, LoraConfig(rank=16, rs_lora=True).scale
        (2.0, 0.5, 4.0)
        """
        if self.rs_lora:
            return self.effective_alpha / self.rank**0.5
        return self.effective_alpha / self.rank

    @property
    def effective_alpha(self) -> float:
        """`alpha`, with None filled in."""
        if self.alpha is not None:
            return self.alpha
        return 16.0 if self.rs_lora else 2.0 * self.rank

    def check(self) -> None:
        """Raises `UserError` with every fault of these settings."""
        faults = []
        if self.rank < 0:
            faults.append(f"rank is {self.rank}, wanted 1 or more, or 0 to train the whole model")
        if self.alpha is not None and not self.alpha > 0:
            faults.append(f"alpha is {self.alpha}, wanted more than 0")
        if not 0 <= self.dropout < 1:
            faults.append(f"dropout is {self.dropout}, wanted at least 0 and less than 1")
        if self.base_dtype not in BASE_DTYPES:
            known = f"wanted one of {', '.join(BASE_DTYPES)}{nearest(str(self.base_dtype), BASE_DTYPES)}"
            faults.append(f"base_dtype is {self.base_dtype!r}, {known}")
        if self.block < 1:
            faults.append(f"block is {self.block}, wanted 1 or more")
        if self.rows and (min(self.rows) < 0 or len(set(self.rows)) < len(self.rows)):
            faults.append(f"rows is {self.rows}, wanted ids of tokens, each once")
        if not self.words:
            faults.append(f"targets is {self.targets!r}, wanted {ALL_LINEAR!r} or names of modules")
        if faults:
            raise UserError(together(faults, "Lora"))

    @property
    def words(self) -> tuple[str, ...]:
        """The names in `targets`, in our own words.

        >>> LoraConfig(targets="q_proj, decoder.*.up_proj").words
        ('query', 'decoder.*.up')
        """
        given = self.targets.split(",") if isinstance(self.targets, str) else self.targets
        return tuple(_ours(word.strip()) for word in given if word.strip())

    def modules(self, model: ModelConfig) -> tuple[str, ...]:
        """The modules of a model that have an adapter.

        Args:
          model: the model.

        Returns:
          Their paths, in the model's order.

        Raises:
          UserError: a target matches no module; tells those that exist.

        >>> LoraConfig(rank=4, targets="q_proj,down").modules(ModelConfig(architecture="decoder"))
        ('decoder.layers.self_attention.query', 'decoder.layers.mlp.down')
        """
        there = module_names(model)
        if self.words == (ALL_LINEAR,):
            return there
        chosen = {word: [name for name in there if matches(name, word)] for word in self.words}
        strange = [word for word, names in chosen.items() if not names]
        if strange:
            ends = list(dict.fromkeys(name.rpartition(".")[2] for name in there))
            listed = ", ".join(map(repr, strange))
            raise UserError(
                f"Lora.targets names {listed}, which matches no projection of this model"
                f"{nearest(strange[0], [*ends, *PEFT_NAMES])}; there are {', '.join(ends)} (of {', '.join(there)}), "
                f"or {ALL_LINEAR!r} for all of them."
            )
        wanted = {name for names in chosen.values() for name in names}
        return tuple(name for name in there if name in wanted)


def _ours(word: str) -> str:
    front, dot, last = word.rpartition(".")
    return front + dot + PEFT_NAMES.get(last, last)


def matches(name: str, word: str) -> bool:
    """Whether a word of `targets` means a module.

    >>> matches("decoder.layers.mlp.up", "up"), matches("decoder.layers.mlp.up", "encoder.*"), matches("a.mlp.up", "p")
    (True, False, False)
    """
    return fnmatch.fnmatchcase(name, word) or fnmatch.fnmatchcase(name, f"*.{word}")


def module_names(model: ModelConfig) -> tuple[str, ...]:
    """The paths of a model's projections; each is a stack of all layers' own."""
    stacks: list[tuple[str, Sequence[str]]] = [("decoder", ("self_attention",))]
    if model.architecture == "encoder_decoder":
        stacks = [("encoder", ("self_attention",)), ("decoder", ("self_attention", "cross_attention"))]
    mlp = ("gate", "up", "down") if model.mlp_activation.startswith("gated_") else ("up", "down")
    names = []
    for stack, attentions in stacks:
        names += [f"{stack}.layers.{part}.{name}" for part in attentions for name in ("query", "key", "value", "out")]
        names += [f"{stack}.layers.mlp.{name}" for name in mlp]
    return tuple(names)
