"""How the texts of an example become ids: as they stand, or as one exchange in a model's chat template.

    plain   Is plum a fruit?                                            -> yes</s>
    chat    <|im_start|>user\nIs plum a fruit?<|im_end|>\n<|im_start|>assistant\n   -> yes<|im_end|>

In either form the inputs are what the model is asked with when it is served, and an answer's ids do not depend on its
question, so that they are made once for each text.
"""

import bisect
import dataclasses
import functools
from typing import Protocol

from flan_jax.tasks.tokenizer_json import TokenizerJsonVocabulary
from flan_jax.tasks.vocabularies import Tokenizer
from flan_jax.text.chat_templates import Answers, ChatTemplate, next_ends

_QUESTION = "?"  # in front of an answer whose ids are wanted
_ANSWERS = "!", "a", "It", "The", "1"  # by which it is found where answers begin


class WrittenForm(Protocol):
    """Prompts and answers as ids.

    Attributes:
      tokenizer: the plain one.
      end: what ends an answer, in training.
      inputs_end: what ends a prompt.
    """

    tokenizer: Tokenizer
    end: list[int]
    inputs_end: list[int]

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """Ids of whole prompts, without `inputs_end`."""
        ...

    def answers(self, texts: list[str]) -> list[list[int]]:
        """Ids of whole answers, without `end`."""
        ...


class PlainText:
    """Texts as they stand.

    Args:
      tokenizer: encodes them.
      ends_inputs: whether prompts end in end-of-sequence, as T5's do.
    """

    def __init__(self, tokenizer: Tokenizer, ends_inputs: bool = False):
        self.tokenizer = tokenizer
        self.end = [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        self.inputs_end = self.end if ends_inputs else []
        self.prompts = self.answers = tokenizer.encode


class OneExchange:
    """A question and its answer, written by a chat template.

    Args:
      tokenizer: of a folder with that template.
      template: the chat template.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate):
        self.tokenizer, self._template = tokenizer, template
        self.inputs_end: list[int] = []
        found = [self._exchange(answer) for answer in _ANSWERS]
        self.end = found[0][1][-1:]
        # A prompt's last token may become part of the answer's first one ("▁" and "▁It"): then it counts as its.
        self._start = min(first for first, _ in found)
        self._met = len(tokenizer.encode_rendered(self._question(_QUESTION))[0]) - self._start

    def prompts(self, texts: list[str]) -> list[list[int]]:
        """Ids of questions of one turn, up to where the assistant begins to speak."""
        found = self.tokenizer.encode_all_rendered([self._question(text) for text in texts])
        return [ids[: len(ids) - self._met] for ids in found] if self._met > 0 else found

    def answers(self, texts: list[str]) -> list[list[int]]:
        """Ids of what the assistant says, without the token that ends it."""
        return [self._exchange(text)[1][self._start : -1] for text in texts]

    def _question(self, text: str) -> str:
        return self._template.render([{"role": "user", "content": text}], answering=True)

    def _exchange(self, answer: str) -> tuple[int, list[int]]:
        """The first token of an answer to `_QUESTION`, and the tokens of both, up to the answer's end."""
        turns = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": answer}]
        found = rendered_answers(self.tokenizer, self._template.answers(turns))
        return found.answers[0].first, found.ids


@functools.lru_cache(maxsize=64)
def one_exchange(tokenizer: Tokenizer, template: ChatTemplate) -> OneExchange:
    """An `OneExchange`, shared by all tasks of a run."""
    return OneExchange(tokenizer, template)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """Where in a conversation's ids one answer is.

    Attributes:
      number: of its message.
      first: its first token.
      end: the one after its last, which is the token that ends it.
      begin: its first character.
      stop: the character after its last, without what ends it.
    """

    number: int
    first: int
    end: int
    begin: int
    stop: int


@dataclasses.dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation in ids.

    Attributes:
      text: as rendered.
      ids: of it, up to the end of the last answer.
      answers: where they are.
      stops: the character after each token.
    """

    text: str
    ids: list[int]
    answers: list[Answer]
    stops: list[int]

    def token_at(self, character: int) -> int:
        """The first token that reaches beyond the characters before this one."""
        return bisect.bisect_right(self.stops, character)


def rendered_answers(tokenizer: Tokenizer, found: Answers) -> Rendered:
    """A rendered conversation in ids, and which of them are answers, the token that ends each included.

    Args:
      tokenizer: of the folder that the chat template comes with.
      found: what `ChatTemplate.answers` gives.
    """
    text, spans = found
    ids, offsets = tokenizer.encode_rendered(text)
    begins, stops = [begin for begin, _ in offsets], [stop for _, stop in offsets]
    eos_ids, answers = tokenizer.eos_ids, []
    for number, first, end in spans:
        # A token that reaches from the template into the answer is the answer's.
        here, after = bisect.bisect_right(stops, first), bisect.bisect_left(begins, end)
        ended = max((at for at in range(here, after) if ids[at] in eos_ids), default=None)
        if ended is not None and not text[stops[ended] : end].strip():
            after = ended + 1  # without the line feed that follows
            end = begins[ended]
        elif after < len(ids) and ids[after] in eos_ids:
            # Generation marks stand around what is said alone, or the end is written in front of the next message.
            after += 1
        answers.append(Answer(number, here, after, first, end))
    ids = ids[: answers[-1].end]
    closes = _closes(tokenizer)
    if ids[-1] not in eos_ids and closes is not None:  # a template that ends no answer, or not the last one
        ids.append(closes)
        answers[-1] = dataclasses.replace(answers[-1], end=len(ids))
    return Rendered(text, ids, answers, stops)


def _closes(tokenizer: Tokenizer) -> int | None:
    """The token that ends a last answer which its template ends with none."""
    vocabulary = tokenizer.vocabulary
    ends = next_ends(vocabulary.tokenizer) if isinstance(vocabulary, TokenizerJsonVocabulary) else None
    return tokenizer.eos_id if ends is None else ends
