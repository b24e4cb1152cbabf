"""Metrics of every kind that seqio knows, beside seqio's own evaluator on the same outputs."""

import numpy as np
import pytest
import seqio
import tensorflow as tf

from flan_jax.errors import UserError
from flan_jax.tasks.examples import describe, measured, references, score
from flan_jax.tasks.measures import Outputs

BYTES = seqio.ByteVocabulary()
LENGTHS = {"inputs": 32, "targets": 16}
ANSWERS = ["YES", "no", "perhaps"]
SCORES = [-1.5, -0.25, -3.0]
SURE = [-0.5, -2.0, -0.125]
OUTPUTS = Outputs(ANSWERS, [[*BYTES.encode(text), 1] for text in ANSWERS], SCORES, SURE)


def right(targets, predictions):
    return {"right": sum(map(str.__eq__, targets, predictions))}


def margin(targets, scores):
    return {"margin": scores.max() - scores.min(), "likely": [t for t in targets if t][int(np.argmax(scores))]}


def confident(targets, predictions, aux_values):
    return {"confident": float(np.dot(aux_values["scores"], [len(p) for p in predictions]))}


class Longest(seqio.metrics.Metric):
    """A metric object of the user's own."""

    model_output_type = seqio.metrics.ModelOutputType.PREDICTION

    def __init__(self, longest=0):
        self.longest = longest

    @classmethod
    def from_model_output(cls, inputs, model_output, features, target_field_name="targets", **_):
        return cls(max(len(features[target_field_name].vocabulary.decode(list(row))) for row in model_output))

    def compute(self):
        return {"longest": self.longest}


class Inner(Longest):
    model_output_type = seqio.metrics.ModelOutputType.SCORE_WITH_INTERMEDIATES


def upper(output, example=None, is_target=False):
    return output.upper()


def by_object(function):
    return seqio.metrics.PassthroughLegacyMetric.from_metric_fn(function, upper)


def register(**how):
    rows = {"inputs": ["is it?", "or not?", "so?"], "targets": ["yes", "no", "no"]}
    seqio.TaskRegistry.add(
        "theirs",
        source=seqio.FunctionDataSource(
            lambda split, shuffle_files, seed=None: tf.data.Dataset.from_tensor_slices(rows), splits=["validation"]
        ),
        preprocessors=[seqio.preprocessors.tokenize, seqio.preprocessors.append_eos],
        output_features={name: seqio.Feature(BYTES, add_eos=name == "targets") for name in LENGTHS},
        postprocess_fn=upper,
        **how,
    )


def measured_theirs():
    return measured("theirs", "validation", OUTPUTS, list(references("theirs", "validation", LENGTHS)))


def by_seqio():
    """What seqio's evaluator makes of the same outputs."""
    evaluator = seqio.Evaluator(
        "theirs", seqio.EncDecFeatureConverter(pack=False), sequence_length=LENGTHS, async_compute_metrics=False
    )
    longest = max(len(row) for row in OUTPUTS.tokens)
    tokens = [(i, np.array([*row, *[0] * (longest - len(row))])) for i, row in enumerate(OUTPUTS.tokens)]
    found, _ = evaluator.evaluate(
        compute_metrics=True,
        predict_fn=lambda *_: tokens,
        score_fn=lambda *_: list(enumerate(SCORES)),
        predict_with_aux_fn=lambda *_: (tokens, {"scores": list(SURE)}),
    )
    return {name: value for name, value in found.result()["theirs"].items() if not isinstance(value, str)}


@pytest.mark.parametrize(
    ("how", "wants", "first"),
    [
        ({"metric_fns": [right]}, ["predictions"], "right"),
        ({"metric_fns": [margin]}, ["scores"], "margin"),
        ({"metric_fns": [confident]}, ["predictions", "aux_values"], "confident"),
        ({"metric_fns": [confident, margin, right]}, ["predictions", "scores", "aux_values"], "right"),
        ({"metric_objs": [Longest()]}, ["predictions"], "longest"),
        ({"metric_objs": [by_object(margin)]}, ["scores"], "margin"),
        (
            {"metric_objs": [by_object(confident), by_object(right)], "metric_fns": [margin]},
            ["predictions", "scores", "aux_values"],
            "margin",
        ),
    ],
)
def test_figures_are_those_of_seqios_evaluator(how, wants, first):
    register(**how)
    found = measured_theirs()
    assert found.figures == pytest.approx(by_seqio()) and not found.failures
    assert (found.score, found.unit) == (first, first)
    described = describe("theirs")
    assert described["wants"] == wants
    assert described["eval_kind"] == ("score" if wants == ["scores"] else "generate")


def dying(targets, predictions):
    raise SystemExit("gone")


def silent(targets, predictions):
    raise AssertionError


def number(targets, predictions):
    return 0.5


def nothing(targets, predictions):
    return {"ratio": float("nan"), "note": "text"}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (dying, "The metric 'dying' of task 'theirs' raised SystemExit: gone ("),
        (silent, "The metric 'silent' of task 'theirs' raised AssertionError ("),
        (number, "raised TypeError: a metric gives figures by name, as {'f1': 50.0}, and this one gave float."),
        (nothing, "The metric 'nothing' of task 'theirs' gave nan as 'ratio', which is no figure."),
    ],
)
def test_a_metric_that_fails_is_told_and_the_others_stay(metric, said):
    register(metric_fns=[metric, right, margin])
    found = measured_theirs()
    (sentence,) = found.failures
    assert said in sentence and sentence.endswith(".")
    assert {name: value for name, value in found.figures.items() if value is not None} == {"right": 2, "margin": 2.75}
    # The score is the first metric's: that of another would stand beside an earlier step's of this one.
    assert found.figures.get(found.score) is None
    with pytest.raises(UserError, match=metric.__name__):
        score("theirs", "validation", ANSWERS, LENGTHS)


def test_other_faults_of_metrics_are_told():
    register(metric_fns=[right, right], metric_objs=[Inner()])
    twice, inner = measured_theirs().failures
    assert "gives a figure called 'right', as one before it does" in twice
    assert inner.startswith("The metric 'Inner' of task 'theirs': it wants the model's intermediate values")


def test_a_metric_of_other_arguments_is_told():
    register(metric_fns=[lambda expected, predictions: {}])
    with pytest.raises(UserError, match="Task 'theirs': Metric functions must have .* Got: .'expected', 'predictions'"):
        describe("theirs")


def test_a_postprocessor_that_raises_is_told(monkeypatch):
    register(metric_fns=[right])
    task = seqio.TaskRegistry.get("theirs")
    monkeypatch.setattr(task, "_postprocess_fn", lambda text, is_target, **_: text if is_target else [][0])
    (sentence,) = measured_theirs().failures
    assert sentence.startswith("The postprocessor of task 'theirs' raised IndexError: list index out of range (")


def test_our_own_metrics_count_in_percent(fruits):
    def confidence(targets, scores):
        return {"confidence": scores.mean()}

    fruits(metrics=("accuracy", confidence)).register()
    assert describe("fruits")["wants"] == ["predictions", "scores"]
    outputs = Outputs(["fruit"] * 12, scores=[-2.0] * 12)
    compared = list(references("fruits", "validation", {"inputs": 64, "targets": 8}))
    found = measured("fruits", "validation", outputs, compared)
    assert found.figures == {"accuracy": pytest.approx(100 * 4 / 12), "confidence": -2.0}
    assert (found.score, found.unit) == ("accuracy", "%")
