"""Folders with a small tokenizer.json, made on the spot with the library that made the real ones."""

import json
import pathlib

TEXTS = ["Is plum a fruit? It is.", "What is the capital of Norway?\n\nOslo, by the fjord.", "naïve café 42"] * 20
CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "{{ '<|im_start|>system\nBe kind.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def byte_level(folder: pathlib.Path, template: str | None = CHATML, **settings) -> pathlib.Path:
    """A byte-level BPE as Qwen's and SmolLM2's: nothing before or after a text, EOS is <|im_end|>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=340, special_tokens=special, initial_alphabet=alphabet)
    )
    named = {"eos_token": "<|im_end|>", "bos_token": "<|im_start|>", "pad_token": "<|endoftext|>"}
    return _written(folder, made, {**named, "chat_template": template, **settings})


def with_bos(folder: pathlib.Path, template: str | None = None, ends: bool = False, **settings) -> pathlib.Path:
    """A unigram model with "▁" for spaces: <s> before each text as Llama 2's, or </s> after it as T5's (`ends`)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>", "<s>"]
    made.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=120, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    around = "$A </s>" if ends else "<s> $A"
    made.post_processor = processors.TemplateProcessing(single=around, special_tokens=[("<s>", 3), ("</s>", 1)])
    if ends:
        made.add_special_tokens([f"<extra_id_{number}>" for number in reversed(range(5))])
    named = {"eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return _written(folder, made, {**named, "chat_template": template, **settings})


def _written(folder: pathlib.Path, made, settings: dict) -> pathlib.Path:
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    settings = {name: value for name, value in settings.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder
