"""The heart: what comes out of a task, by our own way and by seqio's."""

import collections
import functools
import threading

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import ChatTask, InstructionTask, PrefixLanguageModel, Tally, generator, jsonl, registry
from flan_jax.tasks.examples import examples, references, score
from flan_jax.tasks.recipe import Request
from flan_jax.tasks.texts import texts
from flan_jax.tasks.vocabularies import Tokenizer
from tests.counted_calls import calls_of

LENGTHS = {"inputs": 64, "targets": 8}
LONG = {"inputs": None, "targets": None}


def by_seqio(name, lengths, split="train"):
    dataset = seqio.get_mixture_or_task(name).get_dataset(sequence_length=lengths, split=split, shuffle=False)
    return list(dataset.as_numpy_iterator())


def test_inputs_targets_options_and_answer(fruits, model):
    fruits(templates=("{word}?\n{options}",), option_styles=("dashes",)).register()
    found = list(examples("fruits", "train", LENGTHS))
    tokenizer = Tokenizer(model)
    assert len(found) == 40
    first, second = found[:2]
    assert first.inputs_text == "apple?\nOPTIONS:\n- fruit\n- other" and first.targets_text == "fruit"
    assert first.inputs.tolist() == tokenizer.encode_one(first.inputs_text)
    assert first.targets.tolist() == [*tokenizer.encode_one("fruit"), 1]
    assert first.inputs.dtype == first.targets.dtype == np.int32
    assert (first.id, first.answer, second.answer) == ("train:0", 0, 1)
    assert [ids.tolist() for ids in second.options] == [[*tokenizer.encode_one(o), 1] for o in ("fruit", "other")]
    assert second.options[second.answer].tolist() == second.targets.tolist()
    assert first.weights is None and first.references == ("fruit",)


def tokenized_by_seqio(model, found, lengths, **eos):
    """What seqio's own task makes of the texts of these examples, by its own vocabulary and preprocessors."""
    texts = {"inputs": [one.inputs_text for one in found], "targets": [one.targets_text for one in found]}
    vocabulary = seqio.SentencePieceVocabulary(model, extra_ids=100)
    task = seqio.Task(
        "theirs",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(texts), splits=["train"]
        ),
        output_features={name: seqio.Feature(vocabulary, add_eos=add) for name, add in eos.items()},
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos_after_trim],
    )
    return list(task.get_dataset(lengths, "train", shuffle=False).as_numpy_iterator())


@pytest.mark.parametrize("length", [64, 36])
def test_the_ids_are_seqios_and_so_are_those_of_the_registered_task(fruits, model, length):
    """Of each use of a declaration: also where prompts or targets are cut."""
    fruits(name="sibling", templates=("Say {number} or {word}: {options}",)).register()
    task = fruits(
        held_out_templates=("{word}? {options}",),
        inverted_templates=(("Name a {answer}.", "{word} {number}"),),
        few_shot=(2,),
        siblings=("sibling",),
        add_eos_to_inputs=True,
    ).register()
    lengths = {"inputs": length, "targets": 4}
    for variant in task.variants():
        ours, theirs = list(examples(variant.name, "train", lengths)), by_seqio(variant.name, lengths)
        assert len(ours) == len(theirs) == 40
        for one, other in zip(ours, tokenized_by_seqio(model, ours, lengths, inputs=True, targets=True), strict=True):
            assert one.inputs.tolist() == other["inputs"].tolist()
            assert one.targets.tolist() == other["targets"].tolist()
        for one, other in zip(ours, theirs, strict=True):
            assert one.id == other["id"].decode()
            assert one.inputs.tolist() == other["inputs"].tolist() and one.inputs[-1] == 1
            assert one.targets.tolist() == other["targets"].tolist()
            assert one.inputs_text == other["inputs_pretokenized"].decode()


def test_a_seqio_mixture_of_our_tasks_trains_by_seqio(fruits):
    fruits(name="a").register()
    fruits(name="b").register()
    seqio.MixtureRegistry.add("both", ["a", "b"], default_rate=seqio.mixing_rate_num_examples)
    dataset = seqio.get_dataset(
        "both",
        {"inputs": 64, "targets": 8},
        seqio.EncDecFeatureConverter(pack=True),
        dataset_split="train",
        shuffle=True,
        seed=1,
    )
    batch = next(dataset.as_numpy_iterator())
    assert batch["encoder_input_tokens"].shape == (64,) and batch["decoder_loss_weights"].sum() > 0


def test_templates_differ_between_draws_and_are_even(fruits):
    many = tuple(f"{number} {{word}} {{options}}" for number in range(4))
    rows = generator(lambda split: ({"word": "plum", "label": "fruit"} for _ in range(800)))
    fruits(source=rows, templates=many).register()
    drawn = [[one.template for one in examples("fruits", "train", LENGTHS, draw=draw)] for draw in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    counts = collections.Counter(drawn[0])
    assert len(counts) == 4 and max(counts.values()) < 1.5 * min(counts.values())
    assert [one.template for one in examples("fruits", "train", LENGTHS, seed=1)] != drawn[0]


def test_what_is_drawn_does_not_hang_on_other_examples(fruits):
    fruits().register()
    whole = {one.id: one.inputs_text for one in examples("fruits", "train", LENGTHS)}
    encode = registry.recipe("fruits").encoder("train", Request(LENGTHS))
    rows = list(registry.recipe("fruits").source.rows("train"))
    backwards = {one.id: one.inputs_text for one in encode(rows[::-3])}
    assert len(backwards) == 14 and all(whole[row_id] == text for row_id, text in backwards.items())


def test_no_example_is_its_own_exemplar_nor_reads_like_it(model):
    # Every third row repeats the one before it.
    texts_ = [f"item {number - (number % 3 == 2)}" for number in range(30)]
    rows = [{"x": text, "answer": "yes"} for text in texts_]
    InstructionTask("t", generator(lambda split: rows), ("Is {x} good?",), vocabulary=model, few_shot=(5,)).register()
    seen = 0
    for one, text in zip(examples("t.5_shot", "train", LONG), texts_, strict=True):
        *exemplars, prompt = one.inputs_text.split("\n\n")
        assert prompt == f"Is {text} good?" and len(exemplars) == 5
        assert f"Is {text} good?\nyes" not in exemplars and len(set(exemplars)) >= 3
        seen += len(exemplars)
    assert seen == 150


def test_exemplars_come_from_train_and_are_left_out_until_the_prompt_fits(fruits, model):
    source = generator(lambda split: ({"word": f"{split}{n}", "label": "fruit", "number": n} for n in range(20)))
    fruits(source=source, few_shot=(4,), templates=("{word}? {options}",), option_styles=("line",)).register()
    for one in examples("fruits.4_shot", "validation", LONG):
        assert one.inputs_text.count("train") == 4 and one.inputs_text.count("validation") == 1
    tally = Tally()
    lengths = {"inputs": 70, "targets": 8}
    for one in examples("fruits.4_shot", "validation", lengths, tally=tally):
        assert len(one.inputs) <= 70 and one.cut_tokens == 0
        assert one.inputs_text.rpartition("\n\n")[2].startswith("validation")
    assert 0 < tally.pruned_exemplars < 80 and tally.truncated == 0


def test_few_shot_without_a_train_split_is_told(fruits):
    fruits(source=generator(lambda split: iter([]), splits=("test",)), few_shot=(1,)).register()
    assert list(examples("fruits.1_shot", "test", LENGTHS)) == []
    rows = generator(lambda split: iter([{"word": "a", "label": "fruit", "number": 1}]), splits=("test",))
    fruits(name="f", source=rows, few_shot=(1,)).register()
    with pytest.raises(UserError, match="exemplars, which come from a train split"):
        list(examples("f.1_shot", "test", LENGTHS))


def test_truncation_cuts_the_field_keeps_the_end_and_counts(model):
    passage = "the apple and the pear walk " * 20
    rows = generator(
        lambda split: [{"passage": passage, "answer": "one two three four five"}, {"passage": "a", "answer": "b"}]
    )
    InstructionTask("t", rows, ("{passage}\nWhat is it? Say:",), vocabulary=model).register()
    tally = Tally()
    long, short = examples("t", "train", {"inputs": 40, "targets": 5}, tally=tally)
    assert long.inputs_text.endswith("\nWhat is it? Say:") and len(long.inputs) <= 40
    assert len(long.targets) == 5 and long.targets[-1] == 1
    tokenizer = Tokenizer(model)
    whole = (
        len(tokenizer.encode_one(f"{passage}\nWhat is it? Say:")),
        len(tokenizer.encode_one("one two three four five")),
    )
    assert long.cut_tokens == whole[0] - len(long.inputs) + whole[1] - 4
    assert short.cut_tokens == 0
    assert tally == Tally(read=2, kept=2, truncated=1, cut_tokens=long.cut_tokens)


def test_on_long_refuses_or_drops(model, tmp_path):
    (tmp_path / "r.jsonl").write_text('{"x": "a", "answer": "b"}\n{"x": "%s", "answer": "b"}\n' % ("one two " * 30))
    InstructionTask("t", jsonl(tmp_path / "r.jsonl"), ("{x}?",), vocabulary=model).register()
    lengths = {"inputs": 10, "targets": 8}
    with pytest.raises(
        UserError, match=r"Task 't', example 'r:1' \(.*r\.jsonl:2\): its inputs have \d+ tokens and at most 10"
    ):
        list(examples("t", "train", lengths, on_long="refuse"))
    tally = Tally()
    assert [one.id for one in examples("t", "train", lengths, on_long="drop", tally=tally)] == ["r:0"]
    assert tally == Tally(read=2, kept=1, too_long=1)
    with pytest.raises(UserError, match="on_long='cut'"):
        list(examples("t", "train", lengths, on_long="cut"))
    with pytest.raises(UserError, match="feature length of targets is 1"):
        list(examples("t", "train", {"inputs": 10, "targets": 1}))


def test_a_prompt_that_cannot_fit_is_counted_as_too_long(model):
    rows = generator(lambda split: [{"x": "a", "answer": "b"}])
    InstructionTask("t", rows, ("one two three four five six {x}",), vocabulary=model).register()
    tally = Tally()
    assert list(examples("t", "train", {"inputs": 5, "targets": 8}, tally=tally)) == []
    assert tally == Tally(read=1, too_long=1)


def test_bad_rows_are_named_or_counted(model, tmp_path):
    lines = ['{"x": "a", "l": "yes"}', '{"x": "a", "l": "maybe"}', '{"y": "a", "l": "no"}', "{", '{"x": "d", "l": 1}']
    path = tmp_path / "r.jsonl"
    path.write_text("\n".join(lines))
    InstructionTask(
        "t", jsonl(path), ("{x} {options}",), options=("yes", "no"), answer="l", vocabulary=model
    ).register()
    with pytest.raises(UserError, match=r"r\.jsonl:2: the answer 'maybe' is not among the options \['yes', 'no'\]"):
        list(examples("t", "train", LENGTHS))
    path.write_text("\n".join(lines[2:]))
    with pytest.raises(
        UserError, match=r"r\.jsonl:1: template '\{x\} \{options\}' names the field 'x', the row has y, l"
    ):
        list(examples("t", "train", LENGTHS))
    path.write_text("\n".join(lines))
    tally = Tally()
    found = list(examples("t", "train", LENGTHS, on_bad_row="skip", tally=tally))
    assert [one.targets_text for one in found] == ["yes", "no"]  # an index names an option too
    assert tally == Tally(read=5, kept=2, bad_rows=3)


def test_a_failing_preprocess_is_a_bad_row_and_none_drops(model):
    def preprocess(row):
        return None if row["x"] == "drop" else {"x": row["x"], "answer": row["a"]["text"]}

    rows = [{"x": "one", "a": {"text": "1"}}, {"x": "drop"}, {"x": "two", "a": {}}, {"x": "empty", "a": {"text": " "}}]
    InstructionTask("t", generator(lambda split: rows), ("{x}",), preprocess=preprocess, vocabulary=model).register()
    told = r"Task 't', row 2 of .*preprocess function 'preprocess' failed with KeyError: 'text' \(.*test_examples.py, "
    with pytest.raises(UserError, match=told + rf"line {preprocess.__code__.co_firstlineno + 1}\).*--on_bad_row skip"):
        list(examples("t", "train", LENGTHS))
    tally = Tally()
    assert len(list(examples("t", "train", LENGTHS, on_bad_row="skip", tally=tally))) == 1
    assert tally == Tally(read=4, kept=1, bad_rows=1, dropped=2)


@pytest.mark.parametrize("kind", ["instruction", "exemplar", "chat"])
def test_a_preprocess_that_fails_whatever_the_row_ends_the_run_with_its_place(model, kind):
    def preprocess(row):
        if row["x"] == "2":
            raise RuntimeError("no\n dictionary")
        return {**row, "answer": row["x"], "messages": [{"role": "assistant", "content": row["x"]}]}

    source = generator(lambda split: [{"x": str(number)} for number in (range(4) if split == "train" else range(2))])
    if kind == "chat":
        ChatTask("t", source, preprocess=preprocess, vocabulary=model).register()
    else:
        shots = {"few_shot": (3,)} if kind == "exemplar" else {}
        InstructionTask("t", source, ("{x}",), preprocess=preprocess, vocabulary=model, **shots).register()
    name, split, row = ("t.3_shot", "validation", 0) if kind == "exemplar" else ("t", "train", 2)
    told = (
        rf"Task '{name}', row {row} of .*function 'preprocess' failed with RuntimeError: no dictionary \(.*examples.py"
    )
    with pytest.raises(UserError, match=rf"{told}, line {preprocess.__code__.co_firstlineno + 2}\)\.$"):
        list(examples(name, split, LENGTHS, on_bad_row="skip"))


@pytest.mark.parametrize("kind", ["instruction", "exemplar", "chat", "text", "seqio"])
def test_a_source_that_fails_ends_the_run_with_its_place(model, kind):
    def numbers(split):
        yield {"x": "0", "answer": "0", "text": "0", "messages": [{"role": "assistant", "content": "0"}]}
        if split == "train":
            raise ConnectionError("no more numbers")

    def dataset(split, shuffle_files=False, seed=None):
        signature = {name: tf.TensorSpec((), tf.string) for name in ("x", "answer")}
        rows = lambda: ({name: row[name] for name in signature} for row in numbers(split))
        return tf.data.Dataset.from_generator(rows, output_signature=signature)

    if kind == "chat":
        ChatTask("t", generator(numbers), vocabulary=model).register()
    elif kind == "text":
        PrefixLanguageModel("t", generator(numbers), vocabulary=model).register()
    else:
        source = seqio.FunctionDataSource(dataset, splits=("train",)) if kind == "seqio" else generator(numbers)
        shots = {"few_shot": (1,)} if kind == "exemplar" else {}
        InstructionTask("t", source, ("{x}",), vocabulary=model, **shots).register()
    name, split = ("t.1_shot", "validation") if kind == "exemplar" else ("t", "train")
    where = r"FunctionDataSource 'train'" if kind == "seqio" else r"\S*numbers\('train'\)"
    told = (
        rf"Task '{name}': its source failed at row 1 of {where} with ConnectionError: no more numbers \(.*examples.py"
    )
    for read in (functools.partial(examples, lengths=LENGTHS), texts):
        with pytest.raises(UserError, match=rf"^{told}, line {numbers.__code__.co_firstlineno + 3}\)\.$"):
            list(read(name, split, on_bad_row="skip"))


def test_a_generator_that_gives_no_rows_is_told(model):
    def nothing(split):
        pass

    InstructionTask("t", generator(nothing), ("{x}",), vocabulary=model).register()
    told = rf"row 0 of .*nothing.* 'NoneType' object is not iterable \(.*line {nothing.__code__.co_firstlineno}\)"
    with pytest.raises(UserError, match=told):
        list(examples("t", "train", LENGTHS))


def test_options_of_the_row_and_lettered_answers(model):
    rows = [{"q": "Which?", "choices": ["red", "green", "blue"], "answer": 1}]
    task = dict(
        source=generator(lambda split: rows), templates=(("{q} {options}", "It is {answer}."),), options="choices"
    )
    InstructionTask("t", option_styles=("letters",), vocabulary=model, **task).register()
    (one,) = examples("t", "train", LONG)
    assert one.inputs_text == "Which? Choices:\n(A) red\n(B) green\n(C) blue" and one.targets_text == "It is B."
    tokenizer = Tokenizer(model)
    assert [tokenizer.decode(ids) for ids in one.options] == ["It is A.", "It is B.", "It is C."] and one.answer == 1
    rows[0] = {"q": "Which?", "choices": "red", "answer": "red"}
    with pytest.raises(UserError, match="holds the options, is 'red'; a list"):
        list(examples("t", "train", LONG))


def test_a_letter_is_the_answer_only_where_options_are_shown(fruits):
    fruits(templates=("What is {word} {number}?", "{word} {options}"), option_styles=("letters",)).register()
    found = {one.template: one.targets_text for one in examples("fruits", "train", LONG) if one.answer == 0}
    assert found == {0: "fruit", 1: "A"}


def test_one_of_several_references_is_drawn_and_all_count(model):
    rows = [{"q": f"q{n}", "answer": ["red", "green", "green"]} for n in range(40)]
    InstructionTask("t", generator(lambda split: rows), ("{q}",), vocabulary=model).register()
    found = list(examples("t", "train", LONG))
    assert {one.targets_text for one in found} == {"red", "green"}
    assert all(one.references == ("red", "green") for one in found)
    assert score("t", "train", ["Green."] * 40, LONG) == {"exact_match": 100.0}
    assert score("t", "train", ["blue"] * 40, LONG) == {"exact_match": 0.0}


def test_a_siblings_instruction_over_these_rows(fruits, model):
    rows = generator(lambda split: [{"word": "plum", "number": 3, "label": "fruit"}])
    fruits(name="which_number", source=rows, templates=(("Count: {number}", "{number}"),), options=None).register()
    fruits(source=rows, siblings=("which_number",)).register()
    (one,) = examples("fruits.as_which_number", "train", LENGTHS)
    assert (one.inputs_text, one.targets_text, one.answer) == ("Count: 3", "fruit", 0)
    fruits(name="lonely", siblings=("nobody",)).register()
    with pytest.raises(UserError, match="sibling 'nobody', which is no registered InstructionTask"):
        list(examples("lonely.as_nobody", "train", LENGTHS))


def test_limit_stops_and_reads_no_further_than_a_batch(model):
    asked = []

    def rows(split):
        for number in range(100_000):
            asked.append(number)
            yield {"x": str(number), "answer": "a"}

    InstructionTask("t", generator(rows), ("{x}",), vocabulary=model).register()
    assert len(list(examples("t", "train", LENGTHS, limit=3))) == 3
    assert len(asked) <= 1024
    assert list(examples("t", "train", LENGTHS, limit=0)) == []


def test_an_example_costs_few_calls_and_no_thread(fruits, monkeypatch):
    rows = [{"word": "plum", "label": "fruit", "number": number} for number in range(3000)]
    fruits(source=generator(lambda split: rows)).register()
    started, start = [], threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread), start(thread)))

    def made(limit):
        kept = []
        calls = calls_of(lambda: kept.extend(examples("fruits", "train", LENGTHS, limit=limit)))
        assert len(kept) == limit
        return calls

    made(10)
    # 37; each template parsed anew would add to them.
    assert (made(3000) - made(1000)) / 2000 < 39
    assert not started


def test_unknown_names_are_told(fruits):
    fruits().register()
    with pytest.raises(UserError, match="'fruit' is not a registered task; did you mean 'fruits'"):
        list(examples("fruit", "train", LENGTHS))
    with pytest.raises(UserError, match="no split 'tran'"):
        list(examples("fruits", "tran", LENGTHS))
    with pytest.raises(UserError, match="on_bad_row='x'"):
        list(examples("fruits", "train", LENGTHS, on_bad_row="x"))


def test_scores_follow_the_order_and_demand_one_prediction_each(fruits):
    fruits(metrics=("accuracy", "f1")).register()
    targets = [target for target, _ in references("fruits", "validation", LENGTHS)]
    assert targets[:4] == [["fruit"], ["other"], ["other"], ["fruit"]]
    right = [target[0] for target in targets]
    assert score("fruits", "validation", right, LENGTHS) == {"accuracy": 100.0, "f1": 100.0}
    assert score("fruits", "validation", ["fruit"] * 12, LENGTHS)["accuracy"] == pytest.approx(100 * 4 / 12)
    assert score("fruits", "validation", right[:5], LENGTHS, limit=5)["accuracy"] == 100.0
    with pytest.raises(UserError, match="12 examples in 'validation' and 3 predictions"):
        score("fruits", "validation", right[:3], LENGTHS)


class TestForeignTasks:
    """Tasks that other code registered with seqio."""

    @staticmethod
    def register(name="foreign", preprocessors=(), rows=None, **kwargs):
        rows = rows or {"inputs": ["one two", "three", ""], "targets": ["yes", "no no no", ""]}

        def dataset(split, shuffle_files=False):  # takes no seed, which seqio refuses to do without
            return tf.data.Dataset.from_tensor_slices(rows)

        features = {key: seqio.Feature(seqio.ByteVocabulary(), add_eos=True) for key in ("inputs", "targets")}
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(kwargs.pop("dataset", dataset), splits=("train",)),
            preprocessors=[*preprocessors, seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
            output_features=kwargs.pop("output_features", features),
            **kwargs,
        )

    def test_their_ids_are_seqios(self):
        self.register()
        tally = Tally()
        ours = list(examples("foreign", "train", {"inputs": 20, "targets": 20}, tally=tally))
        theirs = by_seqio("foreign", {"inputs": 20, "targets": 20})
        for one, other in zip(ours, theirs, strict=False):
            assert one.inputs.tolist() == other["inputs"].tolist() and one.targets.tolist() == other["targets"].tolist()
        assert [one.inputs_text for one in ours] == ["one two", "three"] and ours[0].objective == "seqio"
        assert tally == Tally(read=3, kept=2, dropped=1)

    def test_what_is_too_long_is_cut_before_its_end_and_counted(self):
        self.register()
        tally = Tally()
        _, second = examples("foreign", "train", {"inputs": 20, "targets": 5}, tally=tally)
        assert second.targets.tolist() == [*seqio.ByteVocabulary().encode("no n"), 1]
        assert (tally.truncated, tally.cut_tokens, second.cut_tokens) == (1, 4, 4)
        dropped = examples("foreign", "train", {"inputs": 20, "targets": 5}, on_long="drop")
        assert [one.targets_text for one in dropped] == ["yes"]
        with pytest.raises(UserError, match="example 'train:1': its targets have 9 tokens and at most 5"):
            list(examples("foreign", "train", {"inputs": 20, "targets": 5}, on_long="refuse"))

    @pytest.mark.parametrize("on_long", ["truncate", "drop"])
    @pytest.mark.parametrize("only_targets", [False, True])
    @pytest.mark.parametrize("fixed", [False, True], ids=["ragged", "fixed lengths"])
    def test_ids_without_text_are_the_same_in_lots(self, on_long, only_targets, fixed):
        words = [f"word {i}" * (1 if fixed else i % 9) for i in range(100, 700)]
        names = ("targets",) if only_targets else ("inputs", "targets")
        features = {key: seqio.Feature(seqio.ByteVocabulary(), add_eos=True) for key in names}

        def set_lengths(dataset):
            return dataset.map(lambda row: {key: tf.ensure_shape(row[key], [8]) for key in names})

        self.register(rows={"inputs": words, "targets": words[::-1]}, output_features=features)
        if fixed:
            seqio.TaskRegistry.get("foreign").preprocessors.insert(-1, set_lengths)
        lengths, tallies = {"inputs": 40, "targets": 30}, (Tally(), Tally())
        ours, theirs = (
            list(examples("foreign", "train", lengths, on_long=on_long, with_text=with_text, tally=tally))
            for with_text, tally in zip((False, True), tallies, strict=True)
        )
        assert 50 < len(ours) == len(theirs) and tallies[0] == tallies[1]
        for one, other in zip(ours, theirs, strict=True):
            assert one.id == other.id and one.cut_tokens == other.cut_tokens
            assert one.inputs.tolist() == other.inputs.tolist() and one.targets.tolist() == other.targets.tolist()

    def test_randomness_follows_seed_and_draw(self):
        @seqio.map_over_dataset(num_seeds=1)
        def shout(example, seed):
            number = tf.random.stateless_uniform([], seed, 0, 1000, tf.int32)
            return {**example, "inputs": tf.strings.as_string(number)}

        rows = {"inputs": [""] * 20, "targets": ["yes"] * 20}
        self.register(preprocessors=[shout], rows=rows)
        drawn = [
            [one.inputs_text for one in examples("foreign", "train", LONG, seed=seed, draw=draw)]
            for seed, draw in ((0, 0), (0, 0), (0, 1), (1, 0))
        ]
        assert drawn[0] == drawn[1] and drawn[0] != drawn[2] and drawn[0] != drawn[3]

    def test_their_postprocessor_and_metrics_score(self):
        def postprocess(output, example=None, is_target=False):
            return output.split()[0].upper() if output else output

        def mean_length(targets, predictions):
            return {"right": seqio.metrics.Scalar(sum(map(str.__eq__, targets, predictions))), "note": "text"}

        self.register(postprocess_fn=postprocess, metric_fns=[mean_length])
        assert score("foreign", "train", ["yes indeed", "maybe"], LONG) == {"right": 1.0}
        self.register(name="silent")
        with pytest.raises(UserError, match="has no metric of predictions"):
            score("silent", "train", ["a", "b"], LONG)

    def test_a_task_of_targets_alone(self):
        features = {"targets": seqio.Feature(seqio.ByteVocabulary(), add_eos=True)}
        self.register(output_features=features)
        first, _ = examples("foreign", "train", LONG)
        assert len(first.inputs) == 0 and first.targets_text == "yes"
        with pytest.raises(UserError, match="no split 'test'"):
            list(examples("foreign", "test", LONG))

    @pytest.mark.parametrize(
        ("name", "words", "line"),
        [
            ("while_building", "'while_building' failed with RuntimeError: boom", 1),
            ("in_a_graph", "'in_a_graph' failed with KeyError: 'question'", 1),
            ("while_running", "'while_running' failed with ValueError: no word", 3),
            ("in_tensorflow", "'in_tensorflow' failed with InvalidArgumentError: StringToNumberOp could not", 0),
        ],
    )
    def test_a_preprocessor_that_raises_is_named_with_its_place(self, name, words, line):
        def while_building(rows):
            raise RuntimeError("boom")

        def in_a_graph(rows):
            return rows.map(lambda row: {"inputs": row["question"]})

        def while_running(rows):
            def spoken(word):
                if word.numpy() == b"three":
                    raise ValueError("no word")
                return word

            return rows.map(lambda row: {**row, "inputs": tf.py_function(spoken, [row["inputs"]], tf.string)})

        def in_tensorflow(rows, wanted):
            return rows.map(lambda row: {**row, "targets": tf.strings.as_string(tf.strings.to_number(row[wanted]))})

        function = locals()[name]
        line += function.__code__.co_firstlineno
        given = functools.partial(function, wanted="inputs") if name == "in_tensorflow" else function
        self.register(preprocessors=[lambda rows: rows, given])
        told = rf"^Task 'foreign', split 'train': its preprocessor .*{words}.* \(.*test_examples.py, line {line}\)\.$"
        for with_text in (True, False):
            with pytest.raises(UserError, match=told):
                list(examples("foreign", "train", LONG, with_text=with_text))

    def test_a_source_that_raises_is_told(self):
        def dataset(split, shuffle_files=False):
            raise OSError("no such disk")

        self.register(dataset=dataset)
        with pytest.raises(
            UserError, match=r"'foreign', split 'train': its source failed with OSError: no such disk \("
        ):
            list(examples("foreign", "train", LONG))

    def test_what_must_be_cached_is_prepared_without_seqios_cache(self):
        self.register()
        before = [one.targets.tolist() for one in examples("foreign", "train", LONG)]
        self.register("kept", preprocessors=[seqio.CacheDatasetPlaceholder(required=True)])
        assert [one.targets.tolist() for one in examples("kept", "train", LONG)] == before

    def test_a_task_without_targets_is_told(self):
        self.register(output_features={"inputs": seqio.Feature(seqio.ByteVocabulary())})
        with pytest.raises(UserError, match="'targets' is wanted"):
            list(examples("foreign", "train", LONG))


def test_a_cached_seqio_task_may_be_the_source_of_ours(model):
    def dataset(split, shuffle_files=False, seed=None):
        return tf.data.Dataset.from_tensor_slices({"sentence": ["a plum", "a stone"], "label": [1, 0]})

    source = seqio.FunctionDataSource(dataset, splits=("train",))
    task = InstructionTask(
        "t", source, ("{sentence}? {options}",), options=("no", "yes"), answer="label", vocabulary=model
    )
    task.register()
    assert [one.targets_text for one in examples("t", "train", LENGTHS)] == ["yes", "no"]
    assert len(by_seqio("t", LENGTHS)) == 2
