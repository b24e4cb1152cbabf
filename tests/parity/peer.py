"""The figures of `tests.models.measured` as transformers and torch have them."""

import pathlib
from typing import Any

import numpy as np
import torch

from flan_jax.models.config import ModelConfig
from tests.models.batches import Example
from tests.models.measured import NEW_TOKENS, OPTIMIZER, SEARCH, STEPS, Figures, Search, examples_of, prompts_of
from tests.parity.families import auto_class

IGNORED = -100


def load(folder: pathlib.Path, dtype: torch.dtype = torch.float32) -> Any:
    """A folder's model, with attention computed step by step as the papers write it."""
    from transformers import AutoConfig

    kind = auto_class(AutoConfig.from_pretrained(folder))
    return kind.from_pretrained(folder, attn_implementation="eager", dtype=dtype).eval()


def measure(folder: pathlib.Path, config: ModelConfig, eos_id: int | None = None) -> tuple[Figures, int]:
    """Reads a folder and measures its model.

    Args:
      folder: of Hugging Face's kind.
      config: what we read out of it: the vocabulary, and what its texts begin with.
      eos_id: what ends an answer; None: a token that some answers hold.

    Returns:
      The figures, and what ended the answers.
    """
    model = load(folder)
    both, begin = config.architecture == "encoder_decoder", config.begin_id
    if eos_id is None:
        eos_id = often_used(greedy(model, config, None))
    answers = greedy(model, config, eos_id)
    beam, scores = searched(model, config, eos_id)
    names = dict(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [value for name, value in names.items() if not _spared(name)]},
            {"params": [value for name, value in names.items() if _spared(name)], "weight_decay": 0.0},
        ],
        lr=OPTIMIZER.learning_rate,
        betas=(OPTIMIZER.b1, OPTIMIZER.b2),
        eps=OPTIMIZER.eps,
        weight_decay=OPTIMIZER.weight_decay,
    )
    logits, gradient, losses = np.zeros(0), {}, []
    for step in range(STEPS):
        optimizer.zero_grad()
        examples = examples_of(config.vocab_size, step)
        out = forward(model, examples, both, begin)
        out.loss.backward()
        if step == 0:
            logits = of_tokens(out.logits, examples, both, begin)
            gradient = {name: value.grad.numpy().copy() for name, value in names.items()}
        torch.nn.utils.clip_grad_norm_(names.values(), OPTIMIZER.clip_norm)
        optimizer.step()
        losses.append(out.loss.item())
    return Figures(logits, logits, gradient, np.array(losses), answers, beam, scores), eos_id


def _spared(name: str) -> bool:
    return "norm" in name or "bias" in name


def _padded(texts: list[np.ndarray], value: int, left: bool = False) -> torch.Tensor:
    longest = max(map(len, texts))
    width = lambda text: (longest - len(text), 0) if left else (0, longest - len(text))
    return torch.tensor(np.stack([np.pad(text, width(text), constant_values=value) for text in texts])).long()


def whole(tokens: np.ndarray, begin: int) -> np.ndarray:
    """A decoder's text with what it begins with."""
    return tokens if begin < 0 else np.append(np.int32(begin), tokens)


def forward(model: Any, examples: list[Example], both: bool, begin: int, **more: Any) -> Any:
    """One padded batch through the model, with its own loss of the targets."""
    if both:
        inputs, targets = ([example[part] for example in examples] for part in (0, 1))
        mask = _padded([np.ones_like(text) for text in inputs], 0)
        return model(input_ids=_padded(inputs, 0), attention_mask=mask, labels=_padded(targets, IGNORED), **more)
    texts = [whole(np.concatenate(example), begin) for example in examples]
    labels = [
        np.where(np.arange(len(text)) < len(text) - len(example[1]), IGNORED, text)
        for text, example in zip(texts, examples, strict=True)
    ]
    more = {"attention_mask": _padded([np.ones_like(text) for text in texts], 0)} | more
    return model(input_ids=_padded(texts, 0), labels=_padded(labels, IGNORED), **more)


def of_tokens(logits: torch.Tensor, examples: list[Example], both: bool, begin: int) -> np.ndarray:
    """The logits at what our rows read: not at a text's last token where another came before its first."""
    counts = [len(targets) if both else len(inputs) + len(targets) for inputs, targets in examples]
    return np.concatenate([row[:count] for row, count in zip(logits.detach().numpy(), counts, strict=True)])


def _generate(model: Any, config: ModelConfig, eos_id: int | None, **settings: Any) -> Any:
    both, texts = config.architecture == "encoder_decoder", prompts_of(config.vocab_size)
    texts = texts if both else [whole(text, config.begin_id) for text in texts]
    ids, mask = (_padded(one, 0, left=not both) for one in (texts, [np.ones_like(text) for text in texts]))
    settings |= {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": eos_id, "pad_token_id": 0}
    with torch.no_grad():
        return model.generate(input_ids=ids, attention_mask=mask, return_dict_in_generate=True, **settings)


def _answers(found: Any, config: ModelConfig, eos_id: int | None) -> np.ndarray:
    """What came after the prompt, up to and with its end."""
    both = config.architecture == "encoder_decoder"
    begun = 1 if both else max(map(len, prompts_of(config.vocab_size))) + (config.begin_id >= 0)
    tokens = np.full((len(found.sequences), NEW_TOKENS), -1, np.int32)
    for row, answer in zip(tokens, found.sequences[:, begun:].tolist(), strict=True):
        answer = answer[: answer.index(eos_id) + 1] if eos_id in answer else answer
        row[: len(answer)] = answer
    return tokens


def greedy(model: Any, config: ModelConfig, eos_id: int | None) -> np.ndarray:
    """Greedy answers to the prompts."""
    return _answers(_generate(model, config, eos_id), config, eos_id)


def searched(model: Any, config: ModelConfig, eos_id: int, search: Search = SEARCH) -> tuple[np.ndarray, np.ndarray]:
    """The best answers of a beam search and their scores."""
    settings = {"num_beams": search.num_beams, "length_penalty": search.length_penalty, "output_scores": True}
    found = _generate(model, config, eos_id, early_stopping=search.early_stopping, **settings)
    return _answers(found, config, eos_id), found.sequences_scores.numpy()


def often_used(answers: np.ndarray) -> int:
    """The token that most answers hold behind their first, of those that some answers do not hold at all."""
    tokens = [int(token) for token in np.unique(answers) if 0 < sum(token in row for row in answers) < len(answers)]
    return max(tokens, key=lambda token: sum(token in row[1:] and token != row[0] for row in answers))
