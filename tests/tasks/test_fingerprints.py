import functools
import os
import subprocess
import sys
import textwrap

import pytest
import seqio

from flan_jax.tasks import InstructionTask, Template, generator, jsonl, registry
from flan_jax.tasks.examples import fingerprint, source_files
from flan_jax.tasks.fingerprints import of


def compiled(source, name="f", **names):
    """A function of source text, as a module of the user's would hold it."""
    scope = {"__name__": "their_module", **names}
    exec(textwrap.dedent(source), scope)
    return scope[name]


def test_functions_count_by_what_they_do():
    base = compiled("def f(x):\n    return x + 1")
    moved = compiled('\n\n# a comment\ndef f(x):\n    """Adds."""\n    return x + 1')
    assert of(base) == of(moved)
    others = [
        compiled("def f(x):\n    return x + 2"),
        compiled("def f(x, y=3):\n    return x + 1"),
        compiled("def f(x):\n    return x.upper()"),
        compiled("def f(x):\n    return (lambda z: z + 5)(x)"),
    ]
    assert len({of(one) for one in [base, *others]}) == 5


def test_helpers_and_word_lists_of_the_same_module_count():
    source = "def g(x):\n    return x + {}\ndef f(x):\n    return g(x) in WORDS"
    one = compiled(source.format(1), WORDS=["a", "b"])
    assert of(one) == of(compiled(source.format(1), WORDS=["a", "b"]))
    assert of(one) != of(compiled(source.format(2), WORDS=["a", "b"]))
    assert of(one) != of(compiled(source.format(1), WORDS=["a", "c"]))


def test_closures_and_partials_count():
    def make(value):
        return lambda row: row[value]

    assert of(make("a")) == of(make("a")) != of(make("b"))
    assert of(functools.partial(max, 1)) == of(functools.partial(max, 1)) != of(functools.partial(max, 2))
    assert of(functools.partial(max, default=1)) != of(functools.partial(max, default=2))


def test_values_are_told_apart_by_kind_and_order():
    values = [1, "1", b"1", 1.0, True, None, (1,), [1], {1}, {1: 1}, (1, 2), (2, 1), ((1,), 2), "", ()]
    assert len({of(value) for value in values}) == len(values)
    assert of({"a": 1, "b": 2}) == of({"b": 2, "a": 1}) and of({"a", "b", "c"}) == of({"c", "b", "a"})
    shared = ("x",)
    assert of([shared, shared]) == of([("x",), ("".join("x"),)])  # sharing is no part of a value


def test_cycles_end():
    loop = [1]
    loop.append(loop)
    other = [1]
    other.append(other)
    assert of(loop) == of(other)


def test_a_vocabulary_is_hashed_by_content_and_a_source_without_its_repr(model):
    assert of(seqio.SentencePieceVocabulary(model)) == of(seqio.SentencePieceVocabulary(model))
    assert of(seqio.SentencePieceVocabulary(model)) != of(seqio.SentencePieceVocabulary(model, extra_ids=5))

    class Touchy:
        def __init__(self, version):
            self.version = version

        def __repr__(self):
            raise AssertionError("read the network")

    assert of(Touchy(1)) != of(Touchy(2))


def test_another_process_finds_the_same(tmp_path):
    (tmp_path / "their_words.py").write_text(
        "PLURALS = {'plum': 'plums', 'pear': 'pears'}\nKINDS = frozenset('abcdef')\n"
    )
    (tmp_path / "their_tasks.py").write_text(
        textwrap.dedent("""
        import their_words
        from their_words import KINDS

        def preprocess(row):
            return {"x": their_words.PLURALS[row["x"]], "kind": row["x"][0] in KINDS or row["x"] in ("a", "b", 3.5)}
        """)
    )
    code = "import their_tasks; from flan_jax.tasks.fingerprints import of; print(of(their_tasks.preprocess))"

    def run(seed):
        path = os.pathsep.join([str(tmp_path), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": seed, "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout

    first, second = run("1"), run("2")  # the second one loads compiled modules
    assert len(first.strip()) == 32 and first == second
    (tmp_path / "their_words.py").write_text(
        "PLURALS = {'plum': 'plumes', 'pear': 'pears'}\nKINDS = frozenset('abcdef')\n"
    )
    assert run("1") != first


class TestTasks:
    """The fingerprint of a registered task."""

    @pytest.fixture
    def declare(self, fruits):
        def declare(**fields):
            seqio.TaskRegistry.reset()
            registry._RECIPES.clear()
            fruits(**fields).register()
            return {name: fingerprint(name) for name in registry.names()}

        return declare

    def test_what_changes_no_token_changes_nothing(self, declare):
        base = declare()
        assert base == declare(cap=5, cluster="c", chance=0.1, metrics=("f1",))

    @pytest.mark.parametrize(
        "fields",
        [
            {"templates": ("{number}: is {word} a fruit!\n{options}", "What is {word} {number}? {options}")},
            {"options": ("fruit", "others", "other")},
            {"preprocess": lambda row: row},
            {"version": "2"},
            {"trim_field": "word"},
            {"add_eos_to_inputs": True},
            {"option_styles": ("dashes",)},
            {"vocabulary": seqio.ByteVocabulary()},
            {"source": generator(lambda split: iter([{"word": "x", "label": "fruit", "number": 1}]))},
        ],
    )
    def test_what_shapes_tokens_changes_it(self, declare, fields):
        assert declare()["fruits"] != declare(**fields)["fruits"]

    def test_one_variants_wording_leaves_the_others_alone(self, declare):
        base = declare(held_out_templates=(Template("{word}? {options}"),), few_shot=(2,))
        other = declare(held_out_templates=(Template("{word}! {options}"),), few_shot=(2,))
        changed = [name for name in base if base[name] != other[name]]
        assert changed == ["fruits.held_out_wordings"]

    def test_files_count_by_state_not_by_place(self, tmp_path, model):
        path = tmp_path / "a" / "rows.jsonl"
        path.parent.mkdir()
        path.write_text('{"x": "a", "answer": "b"}\n')
        InstructionTask("t", jsonl(path), ("{x}",), vocabulary=model).register()
        first = fingerprint("t")
        assert source_files("t") == [str(path)]
        os.utime(path, ns=(0, 123_000_000_000))
        second = fingerprint("t")
        path.rename(tmp_path / "rows.jsonl")
        registry._RECIPES.clear()
        seqio.TaskRegistry.reset()
        InstructionTask("t", jsonl(tmp_path / "rows.jsonl"), ("{x}",), vocabulary=model).register()
        assert first != second == fingerprint("t")

    def test_foreign_tasks_count_by_their_preprocessors(self):
        def register(name, suffix):
            def add(dataset):
                return dataset.map(lambda example: {**example, "targets": example["targets"] + suffix})

            seqio.TaskRegistry.add(
                name,
                source=seqio.TextLineDataSource({"train": "/nowhere/train.txt"}),
                preprocessors=[add],
                output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
            )
            found = fingerprint(name)
            seqio.TaskRegistry.remove(name)
            return found

        assert register("t", "a") == register("t", "a") != register("t", "b")

    def test_a_tfds_task_is_hashed_without_its_data(self):
        for name, version in (("a", "1.0.0"), ("b", "2.0.0")):
            source = seqio.TfdsDataSource(f"no_such_set:{version}", splits=("train",))
            seqio.TaskRegistry.add(
                name, source=source, output_features={"targets": seqio.Feature(seqio.ByteVocabulary())}
            )
        assert fingerprint("a") == fingerprint("a") != fingerprint("b")
