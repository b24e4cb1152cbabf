import functools
import importlib
import os
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import InstructionTask, Template, fingerprints, generator, jsonl, registry, set_version
from flan_jax.tasks.examples import describe, examples, fingerprint, source_files
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


def test_tensors_tables_and_arrays_of_objects_count_by_value():
    def holding(value):
        return lambda rows: (rows, value)

    def table(values):
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], values)
        return tf.lookup.StaticHashTable(pairs, default_value=0)

    kinds = [
        lambda n: tf.constant([1, n]),
        lambda n: tf.Variable([1.0, n]),
        lambda n: tf.ragged.constant([[1], [2, n]]),
        lambda n: table([1, n]),
        lambda n: np.array(["".join("plum"), n], dtype=object),
        lambda n: np.arange(n),
    ]
    for kind in kinds:
        assert of(holding(kind(3))) == of(holding(kind(3))) != of(holding(kind(4)))


def test_objects_with_slots_count_by_what_is_in_them():
    class Slotted:
        __slots__ = ("word", "unset")

        def __init__(self, word):
            self.word = word

    assert of(Slotted("a")) == of(Slotted("a")) != of(Slotted("b"))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Installs a package "shelf-lib" of one module, `shelflib`, at a version."""
    site = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(site))

    def install(version, code="def fix(x):\n    return x + 1\nclass Fixer:\n    pass\n"):
        shutil.rmtree(site, ignore_errors=True)
        about = site / f"shelf_lib-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shelf-lib\nVersion: {version}\n")
        (about / "top_level.txt").write_text("shelflib\n")
        (about / "RECORD").write_text("shelflib.py,,\n")
        (site / "shelflib.py").write_text(code)
        sys.modules.pop("shelflib", None)
        importlib.invalidate_caches()
        fingerprints._version.cache_clear()
        return importlib.import_module("shelflib")

    yield install
    sys.modules.pop("shelflib", None)
    fingerprints._version.cache_clear()


@pytest.mark.parametrize(
    "uses",
    [
        lambda lib: compiled("def f(x):\n    return fix(x)", fix=lib.fix),
        lambda lib: compiled("def f(x):\n    return shelflib.fix(x)", shelflib=lib),
        lambda lib: compiled("def f(x):\n    return Fixer", Fixer=lib.Fixer),
    ],
)
def test_a_packages_version_counts_where_it_is_used(installed, uses):
    lib = installed("1.0")
    first, other = of(uses(lib)), of(compiled("def f(x):\n    return x"))
    lib = installed("1.0")
    assert of(uses(lib)) == first
    lib = installed("1.1")
    assert of(uses(lib)) != first and of(compiled("def f(x):\n    return x")) == other


def test_a_package_counts_where_a_module_that_is_used_imports_it(installed, tmp_path, monkeypatch):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "their_fixes.py").write_text("import shelflib\nRULES = [shelflib.fix(1)]\n")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    found = []
    for version in ("1.0", "1.0", "1.1"):
        installed(version)
        module = importlib.import_module("their_fixes")
        found.append(of(compiled("def f(x):\n    return their_fixes.RULES", their_fixes=module)))
    sys.modules.pop("their_fixes")
    assert found[0] == found[1] != found[2]


def test_comments_and_docstrings_of_a_module_do_not_count(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tmp_path / "their_rules.py"
    path.write_text("def fix(x):\n    return x + 1\n")
    module = importlib.import_module("their_rules")
    use = compiled("def f(x):\n    return their_rules.fix(x)", their_rules=module)
    first = of(use)
    path.write_text('"""Rules."""\n\n# Moved.\n\ndef fix(x):\n    """Fixes."""\n    return (x + 1)  # one more\n')
    assert of(use) == first
    path.write_text("def fix(x):\n    return x + 2\n")
    assert of(use) != first
    sys.modules.pop("their_rules")


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

    def test_one_variants_templates_leave_the_others_alone(self, declare):
        base = declare(held_out_templates=(Template("{word}? {options}"),), few_shot=(2,))
        other = declare(held_out_templates=(Template("{word}! {options}"),), few_shot=(2,))
        changed = [name for name in base if base[name] != other[name]]
        assert changed == ["fruits.held_out_templates"]

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

    def test_a_version_of_a_foreign_task_is_declared(self, fruits):
        source = seqio.TextLineDataSource({"train": "/nowhere/train.txt"})
        features = {"targets": seqio.Feature(seqio.ByteVocabulary())}
        seqio.TaskRegistry.add("theirs", source=source, preprocessors=[], output_features=features)
        found = [fingerprint("theirs")]
        for version in ("1", "2"):
            set_version("theirs", version)
            found.append(fingerprint("theirs"))
            assert describe("theirs")["version"] == version
        set_version("theirs", "1")
        assert len(set(found)) == 3 and fingerprint("theirs") == found[1]
        fruits().register()
        with pytest.raises(UserError, match=r"give its declaration version='2'"):
            set_version("fruits", "2")
        with pytest.raises(UserError, match="did you mean 'theirs'"):
            set_version("their", "2")

    def test_reading_a_foreign_task_leaves_its_fingerprint(self, tmp_path):
        (tmp_path / "a.txt").write_text("one\ntwo\n")
        seqio.TaskRegistry.add(
            "theirs",
            source=seqio.TextLineDataSource({"train": str(tmp_path / "a.txt")}),
            preprocessors=[lambda rows: rows.map(lambda row: {"targets": row}), seqio.preprocessors.tokenize],
            output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
        )
        before = fingerprint("theirs")
        assert len(list(examples("theirs", "train", {}))) == 2
        assert fingerprint("theirs") == before
        assert source_files("theirs") == [str(tmp_path / "a.txt")]
        (tmp_path / "a.txt").write_text("one\nTWO\n")
        assert fingerprint("theirs") != before

    def test_a_task_that_must_be_cached_counts_by_its_cache(self, tmp_path, monkeypatch):
        seqio.TaskRegistry.add(
            "kept",
            source=seqio.TextLineDataSource({"train": str(tmp_path / "gone.txt")}),
            preprocessors=[seqio.CacheDatasetPlaceholder(required=True)],
            output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
        )
        monkeypatch.setattr(seqio.utils, "_GLOBAL_CACHE_DIRECTORIES", [str(tmp_path)])
        assert source_files("kept") == []
        (tmp_path / "kept").mkdir()
        for name in ("COMPLETED", "train.tfrecord-00000-of-00001"):
            (tmp_path / "kept" / name).write_text("x")
        before = fingerprint("kept")
        assert len(source_files("kept")) == 2
        (tmp_path / "kept" / "train.tfrecord-00000-of-00001").write_text("y")
        assert fingerprint("kept") != before

    def test_a_tfds_task_is_hashed_without_its_data(self):
        for name, version in (("a", "1.0.0"), ("b", "2.0.0")):
            source = seqio.TfdsDataSource(f"no_such_set:{version}", splits=("train",))
            seqio.TaskRegistry.add(
                name, source=source, output_features={"targets": seqio.Feature(seqio.ByteVocabulary())}
            )
        assert fingerprint("a") == fingerprint("a") != fingerprint("b")
