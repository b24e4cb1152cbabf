import functools

import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks import caps_of, generator, mixture, proportional, rate_of

SIZES = {"small": 30, "middle": 400, "large": 90_000, "none": 7}


@pytest.fixture(autouse=True)
def tasks():
    """Seqio tasks that know their sizes."""
    for name, size in SIZES.items():
        seqio.TaskRegistry.add(
            name,
            source=seqio.FunctionDataSource(
                lambda split, shuffle_files=False: tf.data.Dataset.range(1), ("train",), {"train": size}
            ),
            output_features={"targets": seqio.Feature(seqio.ByteVocabulary())},
        )


def seqios(name):
    found = seqio.MixtureRegistry.get(name)
    return {task.name: found.get_rate(task) for task in found.tasks}


def test_rates_equal_seqios_own_for_nested_mixtures():
    capped = functools.partial(seqio.mixing_rate_num_examples, maximum=3000, temperature=2.0)
    seqio.MixtureRegistry.add("inner", [("small", proportional(cap=20)), ("large", capped)])
    seqio.MixtureRegistry.add("other", ["middle", "none"], default_rate=seqio.mixing_rate_num_examples)
    seqio.MixtureRegistry.add("outer", [("inner", 3.0), ("other", 2), ("large", 0.5), ("middle", capped)])
    for name in ("inner", "other", "outer"):
        assert rate_of(name, SIZES) == pytest.approx(seqios(name))
    assert rate_of("outer", SIZES)["large"] == pytest.approx(3 * 3000**0.5 / (20 + 3000**0.5) + 0.5)


def test_rates_follow_the_kept_counts_not_the_sources():
    mixture("m", ["small", "large"], cap=100)
    assert rate_of("m", {"small": 10, "large": 60}) == {"small": 10.0, "large": 60.0}
    assert rate_of("m", {"small": 0, "large": 60_000}) == {"small": 0.0, "large": 100.0}
    partial = functools.partial(seqio.mixing_rate_num_examples, maximum=50)
    seqio.MixtureRegistry.add("p", ["small", "large"], default_rate=partial)
    assert rate_of("p", {"small": 10, "large": 60}) == {"small": 10.0, "large": 50.0}


def test_a_member_mixture_whose_tasks_kept_nothing_adds_nothing():
    mixture("inner", ["small", "middle"])
    mixture("outer", [("inner", 1.0), "large"])
    rates = rate_of("outer", {"small": 0, "middle": 0, "large": 5})
    assert rates == {"small": 0.0, "middle": 0.0, "large": 5.0}


def test_caps_are_the_least_that_hold(fruits):
    fruits(cap=50).register()
    fruits(name="free").register()
    fruits(name="third", cap=5).register()
    mixture("m", ["fruits", "free", ("third", 2.0)], cap=80)
    assert caps_of("m") == {"fruits": 50, "free": 80, "third": None}
    mixture("tight", ["fruits"], cap=20)
    mixture("outer", [("m", 1.0), ("tight", 1.0)])
    assert caps_of("outer") == {"fruits": 20, "free": 80, "third": None}
    counts = {"fruits": 1000, "free": 1000, "third": 30}
    assert rate_of("m", counts) == {"fruits": 50.0, "free": 80.0, "third": 2.0}
    partial = functools.partial(seqio.mixing_rate_num_examples, maximum=9)
    seqio.MixtureRegistry.add("theirs", [("small", partial), ("large", seqio.mixing_rate_num_examples)])
    assert caps_of("theirs") == {"small": 9, "large": None} and caps_of("small") == {"small": None}


def test_a_share_of_inversions_is_added_to_a_mixture(fruits):
    inverted = ("Name something that is: {answer}.", "{word}")
    fruits(inverted_templates=(inverted,), cap=50).register()
    fruits(name="more", inverted_templates=(inverted,)).register()
    fruits(name="bare").register()
    mixture("m", ["fruits", ("more", 10.0), "bare"], cap=80, inverted=0.3)
    counts = dict.fromkeys(("fruits", "fruits.inverted", "more", "more.inverted", "bare"), 1000)
    expected = {"fruits": 50.0, "more": 10.0, "bare": 80.0, "fruits.inverted": 15.0, "more.inverted": 3.0}
    assert rate_of("m", counts) == pytest.approx(expected)
    assert caps_of("m")["fruits.inverted"] == 50
    mixture("n", ["fruits", ("fruits.inverted", 1.0), "more"], inverted=0.5)
    assert rate_of("n", counts)["fruits.inverted"] == 1.0
    with pytest.raises(UserError, match="inverted=0.3, and no member has an inverted task to add"):
        mixture("none", ["bare"], inverted=0.3)
    with pytest.raises(UserError, match="inverted=0; a share above 0 is wanted"):
        mixture("none", ["fruits"], inverted=0)
    with pytest.raises(UserError, match="gives 'fruits' a function as its rate.*name 'fruits.inverted' among the memb"):
        mixture("none", [("fruits", lambda task: 1.0)], inverted=0.3)


def test_temperature_evens_rates_out():
    mixture("m", ["small", "large"], temperature=2.0)
    assert rate_of("m", SIZES) == pytest.approx({"small": 30**0.5, "large": 300.0})
    rate = proportional(cap=10, temperature=3.0, scale=0.5)
    assert (rate.cap, rate.temperature) == (10, 3.0) and rate(seqio.TaskRegistry.get("small")) == pytest.approx(
        10 ** (1 / 3)
    )


def test_our_mixtures_mix_by_seqio(fruits):
    fruits().register()
    fruits(name="more").register()
    mixture("m", ["fruits", ("more", 2.0)])
    dataset = seqio.get_mixture_or_task("m").get_dataset(
        {"inputs": 64, "targets": 8}, "train", shuffle=False, num_epochs=1
    )
    assert "targets" in next(dataset.as_numpy_iterator())


def test_the_same_mixture_twice_and_another_under_its_name():
    first = mixture("m", ["small", ("large", 2.0)], cap=9)
    assert mixture("m", ["small", ("large", 2.0)], cap=9) is first
    for members, cap in ((["small"], 9), (["small", ("large", 3.0)], 9), (["small", ("large", 2.0)], 8)):
        with pytest.raises(UserError, match="registered already with other members or rates"):
            mixture("m", members, cap=cap)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([], "no members"),
        (["smal"], "names 'smal', which is not registered; did you mean 'small'"),
        (["small", ("small", 1.0)], "names 'small' twice"),
        (["whole"], r"give its share as a number: \('whole', 1.0\)"),
        ([("whole", proportional())], "give its share as a number"),
    ],
)
def test_faulty_members(members, message):
    mixture("whole", ["large"])
    with pytest.raises(UserError, match=message):
        mixture("m", members)
    assert "m" not in seqio.MixtureRegistry.names()


def test_faults_are_told(fruits):
    with pytest.raises(UserError, match="'small' is the name of a task"):
        mixture("small", ["large"])
    for arguments in ({"cap": 0}, {"temperature": 0.0}, {"scale": -1}):
        with pytest.raises(UserError, match="positive"):
            proportional(**arguments)
    fruits().register()
    with pytest.raises(UserError, match="does not take the mixture 'm'.*different output features"):
        mixture("m", ["fruits", "small"])
    with pytest.raises(UserError, match="no mixture 'mm'"):
        rate_of("mm", {})
    mixture("m", ["small", "large"])
    with pytest.raises(UserError, match="number of examples of small is not known"):
        rate_of("m", {"large": 3})
    seqio.MixtureRegistry.add("odd", [("m", seqio.mixing_rate_num_examples)])
    with pytest.raises(UserError, match="gives the mixture 'm' a function as its rate"):
        rate_of("odd", SIZES)
    fruits(name="unknown_size", source=generator(lambda split: iter(()))).register()
    with pytest.raises(UserError, match="'unknown_size' is not known before it is prepared"):
        proportional()(seqio.TaskRegistry.get("unknown_size"))
    assert rate_of("small", {}) == {"small": 1.0}
