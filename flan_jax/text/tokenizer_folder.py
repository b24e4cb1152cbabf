"""A folder with a `tokenizer.json`, as Hugging Face models have it: text to ids and back, special tokens, template.

Known to the data process (`flan_jax.tasks.tokenizer_json` makes a seqio vocabulary of it) and to the training process
(`flan_jax.text.codec`) alike, so it imports neither seqio nor TensorFlow.

What a plain task's rows hold is never read as a special token: "<|im_end|>" in a text is six ordinary pieces. Only what
a chat template has rendered is encoded with its special tokens (`encode_rendered`), as it is when the model is served.
"""

import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flan_jax.errors import UserError
from flan_jax.files.typed_json import TOKENS, typed
from flan_jax.text.tokenizer_fields import read_json, read_tokenizer_json

if TYPE_CHECKING:
    import tokenizers

TOKENIZER = "tokenizer.json"
SENTENCEPIECE_FILES = ("spiece.model", "tokenizer.model")  # of T5 and of Llama, in folders without a tokenizer.json
SPECIAL_TOKENS = ("tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "chat_template.json")
GENERATION = "generation_config.json"
CONFIG = "config.json"


def named_ends(folder: str | os.PathLike[str]) -> tuple[int, ...]:
    """The tokens that end an answer by a model's settings, as transformers reads them.

    Those of generation_config.json; where there is none, those of config.json, or of its text model.

    Raises:
      UserError: they are no ids of tokens.
    """
    path = pathlib.Path(folder) / GENERATION
    settings = read_json(path)
    if not path.is_file():
        path = pathlib.Path(folder) / CONFIG
        settings = read_json(path)
        if settings.get("eos_token_id") is None and isinstance(settings.get("text_config"), dict):
            settings = settings["text_config"]
    settings, faults = typed(settings, {"eos_token_id": TOKENS})
    if faults:
        raise UserError(f"{path}: {faults[0]}; write the ids there")
    named = settings.get("eos_token_id")
    ends = named if isinstance(named, list) else [] if named is None else [named]
    return tuple(end for end in ends if end >= 0)


class TokenizerFolder:
    """A tokenizer; its files are read when it is first used.

    Args:
      path: the folder, or the tokenizer.json in it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        path = pathlib.Path(path)
        self.folder = path.parent if path.name == TOKENIZER else path

    @property
    def path(self) -> pathlib.Path:
        """Its tokenizer.json."""
        return self.folder / TOKENIZER

    @functools.cached_property
    def _rendered(self) -> "tokenizers.Tokenizer":
        return self._load()

    @functools.cached_property
    def _plain(self) -> "tokenizers.Tokenizer":
        plain = self._load()
        plain.encode_special_tokens = True  # its name for: as ordinary text
        return plain

    def _load(self) -> "tokenizers.Tokenizer":
        # The data process forks a worker a core, and threads of Rust do not live through a fork.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import tokenizers

        try:
            made = tokenizers.Tokenizer.from_file(str(self.path))
        except Exception as error:  # the library raises Exception itself
            why = f"cannot be read ({' '.join(str(error).split())})" if self.path.is_file() else "does not exist"
            raise UserError(
                f"The tokenizer {self.path} {why}; fetch the folder anew, or set the task's vocabulary to another."
            ) from None
        made.no_truncation()
        made.no_padding()
        return made

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without anything before or after it."""
        return [found.ids for found in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_rendered(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids of a text in which the names of special tokens mean them, and the characters that each stands for."""
        found = self._rendered.encode(text, add_special_tokens=False)
        return found.ids, found.offsets

    def encode_all_rendered(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of such texts, without the places."""
        return [found.ids for found in self._rendered.encode_batch_fast(list(texts), add_special_tokens=False)]

    def specials(self, text: str) -> list[int]:
        """The special tokens in a rendered text, in order."""
        known = self._rendered.get_added_tokens_decoder()
        return [one for one in self.encode_rendered(text)[0] if one in known and known[one].special]

    def first_special(self, text: str) -> int | None:
        """The first special token in a rendered text; None where it has none."""
        return next(iter(self.specials(text)), None)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids, without special tokens."""
        return self._rendered.decode([int(one) for one in ids], skip_special_tokens=True)

    def rendered(self, ids: Iterable[int]) -> str:
        """The text of ids, special tokens by their names."""
        return self._rendered.decode([int(one) for one in ids], skip_special_tokens=False)

    def all_rendered(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The texts of many rows of ids, special tokens by their names."""
        return self._rendered.decode_batch([list(row) for row in rows], skip_special_tokens=False)

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The written form of each token, for people."""
        return [self._rendered.decode([int(one)], skip_special_tokens=False) for one in ids]

    @functools.cached_property
    def size(self) -> int:
        """One more than the largest id."""
        return max(self._rendered.get_vocab(with_added_tokens=True).values()) + 1

    @functools.cached_property
    def sentinels(self) -> tuple[int, ...]:
        """The ids of `<extra_id_0>`, `<extra_id_1>`, …, as T5's has them: the first has the largest id.

        They end its vocabulary, but for tokens that somebody added behind them.
        """
        first, found = self._rendered.token_to_id("<extra_id_0>"), list[int]()
        while first is not None and self._rendered.token_to_id(f"<extra_id_{len(found)}>") == first - len(found):
            found.append(first - len(found))
        return tuple(found)

    @functools.cached_property
    def added(self) -> frozenset[str]:
        """The tokens that are found in a text as they stand, whatever the model of pieces makes of it."""
        return frozenset(token.content for token in self._rendered.get_added_tokens_decoder().values())

    def ids_with(self, tokens: Sequence[str]) -> tuple[dict[str, int], dict[str, int]]:
        """The ids of tokens if they were added: of those that it has not, and of those that it has; -1 for none."""
        made, new, known = self._load(), dict[str, int](), dict[str, int]()
        made.add_special_tokens(list(tokens))
        for token in tokens:
            found = made.token_to_id(token)
            there = self._rendered.token_to_id(token) is not None
            (known if there else new)[token] = -1 if found is None else found
        return new, known

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """What tokenizer_config.json and special_tokens_map.json say, the former over the latter."""
        over = read_tokenizer_json(self.folder / "tokenizer_config.json")
        return read_tokenizer_json(self.folder / "special_tokens_map.json") | over

    def token(self, role: str) -> str | None:
        """The text of "bos_token", "eos_token", "unk_token" or "pad_token"; None where there is none."""
        value = self.settings.get(role)
        return value.get("content") if isinstance(value, dict) else value

    def token_id(self, role: str) -> int | None:
        """The id of such a token."""
        token = self.token(role)
        return None if token is None else self._rendered.token_to_id(token)

    @functools.cached_property
    def eos_id(self) -> int:
        """The token that ends an answer in training.

        Raises:
          UserError: none is named.
        """
        found = self.token_id("eos_token")
        if found is None:
            raise UserError(
                f"The tokenizer {self.path} names no end-of-sequence token, so that no answer would end; "
                'write "eos_token" into its tokenizer_config.json.'
            )
        return found

    @functools.cached_property
    def around(self) -> tuple[int, bool]:
        """The token that it puts before a text, -1 for none; and whether it ends texts by EOS.

        Its post-processor says so, of the beginning also the `add_bos_token` of older folders.
        """
        ids, bos = self._rendered.encode("", add_special_tokens=True).ids, self.token_id("bos_token")
        begins = bool(ids) and ids[0] == bos
        ends = len(ids) > begins and ids[-1] == self.eos_id
        if bos is not None and (begins or self.settings.get("add_bos_token")):
            return bos, ends
        return -1, ends

    @functools.cached_property
    def chat_template(self) -> str | None:
        """The Jinja source of its chat template; of several, the one named "default".

        Raises:
          UserError: its file is no text, or none of several has that name.
        """
        path = self.folder / "chat_template.jinja"
        if path.exists():
            try:
                return path.read_text(encoding="utf-8")
            except (OSError, UnicodeError) as error:
                raise UserError(f"{path} cannot be read as UTF-8 ({error}); save it so, or take it away") from None
        found = read_tokenizer_json(self.folder / "chat_template.json").get("chat_template")
        found = found or self.settings.get("chat_template")
        if isinstance(found, list):
            found = {one["name"]: one["template"] for one in found}
        if isinstance(found, dict) and "default" not in found:
            names = ", ".join(map(repr, found)) or "no name"
            raise UserError(f"The chat templates of {self.folder} are called {names}; call the one to use 'default'")
        return found["default"] if isinstance(found, dict) else found

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what turns text into ids: the tokenizer without its post-processor, and the special tokens."""
        try:
            described = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            self._load()  # says what is wrong with it
            raise
        kept = {k: v for k, v in described.items() if k not in ("post_processor", "truncation", "padding")}
        shaping = [kept, self.eos_id, self.chat_template]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:32]

    def files(self) -> list[pathlib.Path]:
        """The files that make it, those that are there."""
        names = (TOKENIZER, *SPECIAL_TOKENS, GENERATION, CONFIG)
        return [path for name in names if (path := self.folder / name).is_file()]
