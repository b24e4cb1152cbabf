import pytest
import seqio

from flan_jax.errors import UserError
from flan_jax.tasks import InstructionTask, Template, declared, generator, mixture, names
from flan_jax.tasks.examples import describe, examples
from tests.counted_calls import calls_of

LENGTHS = {"inputs": 200, "targets": 16}


def test_registering_adds_the_derived_tasks(fruits):
    fruits(name="siblings_1").register()
    task = fruits(
        held_out_templates=("{word}? {options}",),
        inverted_templates=(("Name a {answer}.", "{word}"),),
        few_shot=(1, 3),
        siblings=("siblings_1",),
    ).register()
    assert names()[1:] == [
        "fruits",
        "fruits.held_out_templates",
        "fruits.inverted",
        "fruits.with_inverted",
        "fruits.1_shot",
        "fruits.3_shot",
        "fruits.as_siblings_1",
    ]
    assert all(name in seqio.TaskRegistry.names() and declared(name) is task for name in names()[1:])
    assert declared("unknown") is None


def test_registering_the_same_twice_changes_nothing_and_another_is_refused(fruits):
    # Functions made anew by a module that is imported again are equal by what they do.
    def declare(suffix):
        return fruits(preprocess=lambda row: {**row, "word": row["word"] + suffix})

    declare("s").register()
    before = seqio.TaskRegistry.get("fruits")
    declare("s").register()
    assert seqio.TaskRegistry.get("fruits") is before
    with pytest.raises(UserError, match="'fruits' is registered already with a different declaration"):
        declare("es").register()
    with pytest.raises(UserError, match="different declaration"):
        fruits(cap=5).register()


def test_a_refused_declaration_registers_nothing(fruits):
    fruits(name="fruits.inverted").register()
    with pytest.raises(UserError, match="fruits.inverted"):
        fruits(inverted_templates=(("Name a {answer}.", "{word}"),)).register()
    assert names() == ["fruits.inverted"]


def test_names_of_others_are_not_taken(fruits):
    fruits(name="ours").register()
    mixture("mix", ["ours"])
    with pytest.raises(UserError, match="'mix' is the name of a mixture"):
        fruits(name="mix").register()
    other = seqio.Task("theirs", source=None, output_features={"targets": seqio.Feature(seqio.ByteVocabulary())})
    seqio.TaskRegistry.add_provider("theirs", other)
    with pytest.raises(UserError, match="'theirs' .* other code registered"):
        fruits(name="theirs").register()
    assert declared("theirs") is None
    with pytest.raises(UserError, match="seqio does not take the task 'my-task'"):
        fruits(name="my-task").register()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"templates": ()}, "no templates"),
        ({"templates": ("{word} {options}", ("{word}", "yes"))}, "name no field"),
        ({"templates": (("{word}", "{number}"),)}, r"leave out \{answer\}"),
        ({"options": None}, r"\{options\}, but its task declares none"),
        ({"options": ("a",)}, "at least two different"),
        ({"options": ("a", "a", "b")}, "at least two different"),
        ({"options": ("a", "")}, "none empty"),
        ({"option_styles": ("dashs",)}, "did you mean 'dashes'"),
        ({"option_styles": ()}, "option_styles is empty"),
        ({"worked": "shown"}, "worked='shown' must stand once in each template's inputs"),
        ({"worked": "word", "few_shot": (2,)}, "few_shot and worked are set"),
        ({"worked": "word", "worked_from": "middle"}, "it is 'first' or 'last'"),
        ({"metrics": ("acuracy",)}, "did you mean 'accuracy'"),
        ({"trim_field": "words"}, "in no template's inputs"),
        ({"trim_from": "start"}, "'end' or 'middle'"),
        ({"cap": 0}, "positive number"),
        ({"on_bad_row": "drop"}, "'error', 'skip' or None"),
        ({"few_shot": (0,)}, "must be positive"),
        ({"inverted_templates": (("Name it", "{word}"),)}, "does not show the answer"),
        ({"inverted_templates": (("Is {answer}?", "{label}"),)}, "asks for the answer itself"),
        ({"inverted_templates": (Template("Name it", "{label}", "open"),)}, "asks for the answer itself"),
        ({"inverted_templates": (Template("Name a {answer}", "{word}", "open"),)}, "direction is 'inverted'"),
        ({"inverted_templates": (Template("Name a {answer}", "{word}", "back"),)}, "the direction 'back'; it is"),
        ({"templates": (Template("Name a {answer}", "{word}", "inverted"),)}, "move it to inverted_templates"),
        ({"held_out_templates": ("{word} {",)}, "unbalanced"),
        ({"held_out_templates": ("What is {word} {number}? {options}",)}, "is among the templates"),
        ({"templates": (Template("{word}?", paraphrases=("{number}?",)),)}, "must name what the template does: word"),
        (
            {
                "templates": (Template("{word}?", paraphrases=("{word}!",)),),
                "held_out_templates": (Template("Is it {word}?", paraphrases=("{word}!",)),),
            },
            "'{word}!' is among the templates",
        ),
        ({"inverted_share": 0.3}, "of a task that has inverted_templates"),
        ({"inverted_share": 3, "inverted_templates": (("A {answer}?", "{word}"),)}, "a share from 0 to 1"),
        ({"input_noise": 5}, "share of the words from 0 to 1"),
    ],
)
def test_faults_are_told_at_registration(fruits, fields, message):
    with pytest.raises(UserError, match=f"Task 'fruits'.*{message}"):
        fruits(**fields).register()
    assert not names()


def test_declaring_and_registering_reads_nothing(tmp_path):
    def rows(split):
        raise AssertionError("read")

    InstructionTask("t", generator(rows), ("{x}",), vocabulary=str(tmp_path / "none.model"), few_shot=(2,)).register()
    assert describe("t")["vocabulary"] == {
        "kind": "sentencepiece",
        "path": str(tmp_path / "none.model"),
        "extra_ids": 100,
    }


def test_a_description_tells_what_a_report_needs(fruits):
    fruits(
        cap=7,
        cluster="words",
        held_out_templates=("{word}? {options}",),
        inverted_templates=(("Name a {answer}.", "{word}"),),
    ).register()
    plain = describe("fruits")
    assert (plain["cap"], plain["cluster"], plain["chance"], plain["eval_kind"]) == (7, "words", 0.5, "rank")
    assert (plain["metrics"], plain["options"], plain["held_out_templates"]) == (["accuracy"], ["fruit", "other"], 1)
    assert plain["random"] is True and plain["ours"] is True
    inverted = describe("fruits.inverted")
    assert (inverted["eval_kind"], inverted["metrics"]) == ("generate", ["exact_match"])
    assert inverted["options"] is None and inverted["chance"] is None
    assert describe("fruits.held_out_templates")["templates"] == [["{word}? {options}", "{answer}"]]


def test_inverted_and_open_templates_are_drawn_apart_or_among_the_others_by_choice(fruits):
    """And the task that is scored by its options draws from neither."""
    fruits(
        templates=("{word} {options}",),
        inverted_templates=(("Name a {answer}.", "{word}"), Template("Name anything.", "{word}", "open")),
        option_styles=("letters",),
    ).register()
    drawn = {
        name: [one for draw in range(4) for one in examples(name, "train", LENGTHS, draw=draw)] for name in names()
    }
    assert {one.inputs_text for one in drawn["fruits.inverted"]} == {"Name a fruit.", "Name a other.", "Name anything."}
    assert {one.template for one in drawn["fruits.with_inverted"]} == {0, 1, 2}
    for example in (one for several in drawn.values() for one in several):
        if "Choices:" in example.inputs_text:
            assert (example.targets_text, len(example.options)) == ("AB"[example.answer], 2)
        else:
            assert example.options is None and example.answer is None
            assert example.targets_text not in ("A", "B", "fruit", "other")
    assert all(example.options for example in drawn["fruits"])
    both = describe("fruits.with_inverted")
    assert (both["eval_kind"], both["metrics"], both["chance"], both["random"]) == ("loss", [], None, True)


def test_a_share_of_the_examples_is_worded_by_inverted_templates(fruits):
    fruits(
        source=generator(lambda split: ({"word": "plum", "label": "fruit", "number": n} for n in range(2000))),
        templates=[f"{n} {{number}}: is {{word}} a fruit? {{options}}" for n in range(9)],
        inverted_templates=[(f"Name something that is: {{answer}}{mark}", "{word}") for mark in ".!"],
        inverted_share=0.3,
    ).register()
    found = [one.template for one in examples("fruits.with_inverted", "train", LENGTHS)]
    counts = [found.count(number) for number in range(11)]
    # Three standard deviations of 2,000 draws at 0.3 are 61.
    assert abs(sum(counts[9:]) - 600) < 61 and abs(counts[9] - counts[10]) < 80 and min(counts) > 100
    alone = [one.template for one in examples("fruits", "train", LENGTHS, limit=50)]
    assert max(alone) == 8


def test_held_out_templates_stand_in_no_other_use_of_the_declaration(fruits):
    """Not in the plain task's rows, nor in exemplars, nor in the task turned around or under a sibling's templates."""
    fruits(name="siblings_1", held_out_templates=("A sibling unheard of: {word} {options}",)).register()
    task = fruits(
        held_out_templates=("Unheard of, {word}? {options}", "{word} {number}, unheard of. {options}"),
        inverted_templates=(("Name a {answer}.", "{word}"),),
        few_shot=(2,),
        siblings=("siblings_1",),
    ).register()
    for variant in task.variants():
        held_out = variant.name == "fruits.held_out_templates"
        seen = set()
        for split, draw in (("train", 0), ("train", 1), ("train", 2), ("validation", 0)):
            for example in examples(variant.name, split, LENGTHS, draw=draw):
                assert ("nheard of" in example.inputs_text) == held_out, (variant.name, example.inputs_text)
                seen.add(example.template)
        assert len(seen) == {"fruits.inverted": 1, "fruits.with_inverted": 3}.get(variant.name, 2), variant.name


def test_one_template_and_one_style_leave_nothing_to_draw(fruits):
    """But exemplars are: few-shot prompts of one template are others every epoch, as those of two styles are."""
    fruits(templates=("{word} {options}",), option_styles=("dashes",), few_shot=(2,)).register()
    fruits(name="styled", templates=("{word} {options}",), option_styles=("dashes", "letters")).register()
    for name, is_random in (("fruits", False), ("fruits.2_shot", True), ("styled", True)):
        drawn = [[one.inputs_text for one in examples(name, "train", LENGTHS, draw=draw)] for draw in (0, 1)]
        assert describe(name)["random"] is is_random == (drawn[0] != drawn[1]), name


def test_a_task_costs_no_more_to_register_among_many(fruits):
    def register(start, end):
        for number in range(start, end):
            fruits(name=f"task_{number}", few_shot=(3,)).register()

    calls = lambda start, end: calls_of(lambda: register(start, end)) / (end - start)
    register(0, 10)
    first, between, last = calls(10, 110), calls(110, 1736), calls(1736, 1836)
    assert max(between, last) < 1.1 * first
    assert first < 200
    assert len(names()) == 2 * 1836


def test_templates_may_be_given_in_any_form(model):
    task = InstructionTask("t", generator(lambda split: iter(())), "one {x}", options=["a", "b"], metrics="f1")
    assert task.templates == (Template("one {x}"),) and task.options == ("a", "b") and task.metrics == ("f1",)
