"""What rows say, free of templates."""

from flan_jax.tasks import ChatTask, InstructionTask, generator
from flan_jax.tasks.examples import contents
from flan_jax.tasks.prefix_lm import PrefixLanguageModel


def declare(rows, **fields):
    """Registers a task of those rows, and gives what each variant's rows say, by its name."""
    source = generator(lambda split: iter(rows), num_rows={"train": len(rows)})
    declared = dict(name="qa", source=source, templates=("{question}?", "{topic}: {question}"), answer="reply")
    InstructionTask(**declared | fields).register()
    return lambda name="qa": [(one.prompt, one.answer) for one in contents(name, "train")]


def test_a_row_says_the_same_in_every_variant_and_the_other_way_round_where_the_answer_is_shown():
    row = {"question": "Who", "topic": "Birds", "reply": "an owl", "unused": "x"}
    inverted = [("Ask of {reply}", "{question}")]
    said = declare([row], few_shot=(1,), held_out_templates=("So, {question}?",), inverted_templates=inverted)
    assert said() == said("qa.held_out_templates") == said("qa.1_shot") == [("Who\nBirds", "an owl")]
    assert said("qa.with_inverted") == said() and said("qa.inverted") == [("an owl", "Who\nBirds")]


def test_options_of_a_row_count_and_fixed_ones_do_not():
    row = {"question": "Which", "topic": "t", "reply": 1, "choices": ["an owl", "a crow"]}
    assert declare([row], options="choices")() == [("Which\nt\nan owl\na crow", "a crow")]
    assert declare([row], name="fixed", options=("no", "yes"))("fixed") == [("Which\nt", "yes")]


def test_all_right_answers_and_what_preprocess_makes_of_a_row_count():
    rows = [{"question": "Who", "topic": n, "reply": ["b", "a"]} for n in (1, 2)]
    said = declare(rows, preprocess=lambda row: None if row["topic"] == 2 else {**row, "topic": "two"})
    assert said() == [("Who\ntwo", "b\na")]


def test_rows_that_cannot_be_read_are_passed_over():
    good = {"question": "Who", "topic": "t", "reply": "a"}
    said = declare([{**good, "reply": None}, good, {**good, "reply": 7, "topic": None}])
    assert said() == [("Who\nt", "a"), ("Who", "7")]


def test_a_conversation_says_its_turns_and_a_shared_system_prompt_is_none_of_them():
    turns = lambda *pairs: {"messages": [{"role": role, "content": text} for role, text in pairs]}
    rows = [
        turns(
            ("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "So long")
        ),
        turns(("system", "Say it."), ("assistant", "It")),
        turns(("user", "nobody answers")),
    ]
    ChatTask("chat", generator(lambda split: iter(rows), num_rows={"train": 3})).register()
    said = [(one.prompt, one.answer) for one in contents("chat", "train")]
    assert said == [("Hi", "Hello\nBye\nSo long"), ("Say it.", "It")]


def test_a_text_is_all_given_and_rows_are_read_from_where_it_is_said():
    rows = [{"text": f"text {number}"} for number in range(5)]
    PrefixLanguageModel("prose", generator(lambda split: iter(rows), num_rows={"train": 5})).register()
    assert [one.prompt for one in contents("prose", "train", start=1, stop=3)] == ["text 1", "text 2"]
    assert [one.id for one in contents("prose", "train")] == [f"train:{number}" for number in range(5)]
