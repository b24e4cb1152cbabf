"""Small daily talks in the words of the starter suite: greetings, likes and wishes, each of two exchanges.

Question: Hello, I am Anna. I like my goat.
Answer:
→ Hello Anna! How is the goat?
  Question: It is happy and it wants bread.
  Answer: Then give the goat more bread, Anna.

    starter_chats     three tasks; every answer is an example, whose inputs are all that was said before it

What is answered follows from what was said, so that a small model learns it in some hundred steps. What the talks are
to show is forgetting: gin_configs/runs/stages.gin trains on them after the tasks of `starter`.
"""

from collections.abc import Callable, Iterator
from functools import partial

from flan_jax.mixtures.starter import draws
from flan_jax.mixtures.starter.lexicon import ANIMALS, COLOURS, FOODS, PEOPLE, VEHICLES
from flan_jax.tasks import ChatTask, generator, mixture

# Of one opening there is one talk, so that what is scored of its first answer is not trained on.
_NUM_ROWS = {"train": 1_000, "validation": 100}
_ROLE_NAMES = (("system", "System"), ("user", "Question"), ("assistant", "Answer"), ("tool", "Tool"))


def _talk(*said: str) -> draws.Row:
    """A row of what user and assistant say in turn."""
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(said)]
    return {"messages": messages, "opening": said[0]}


def _pet(draw: draws.Draws) -> draws.Row:
    person, animal, food = draw.pick(PEOPLE), draw.pick(ANIMALS), draw.pick(FOODS)
    hello = draw.pick(
        ("Hello, I am {}. I like my {}.", "I am {}. I have a {}.", "Hello! {} is my name. This is my {}.")
    )
    wish = draw.pick(("It is happy and it wants {}.", "It is hungry. It likes {}.", "Good. It took all the {}."))
    return _talk(
        hello.format(person, animal),
        f"Hello {person}! How is the {animal}?",
        wish.format(food),
        f"Then give the {animal} more {food}, {person}.",
    )


def _trip(draw: draws.Draws) -> draws.Row:
    person, vehicle, colour = draw.pick(PEOPLE), draw.pick(VEHICLES), draw.pick(COLOURS)
    wish = draw.pick(("I want to take the {} with {}.", "I rode a {} with {}.", "There is a {} for me and {}."))
    answer = draw.pick(("It is {}.", "I want a {} one.", "Is it not {}?"))
    return _talk(
        wish.format(vehicle, person),
        f"Which colour is the {vehicle}?",
        answer.format(colour),
        f"Then the {colour} {vehicle} is for {person} and you.",
    )


def _meal(draw: draws.Draws) -> draws.Row:
    (one, other), person = draw.distinct(FOODS, 2), draw.pick(PEOPLE)
    asked = draw.pick(("Do you like {} or {}?", "What is good, {} or {}?", "Is it {} or {} for me?"))
    then = draw.pick(("And for {}?", "What do I give {}?", "What will {} like?"))
    return _talk(
        asked.format(one, other), f"I like {one} the most.", then.format(person), f"Give {person} the {other} then."
    )


def _talks(name: str, make: Callable[[draws.Draws], draws.Row], split: str) -> Iterator[draws.Row]:
    return draws.rows(name, "opening", make, split, _NUM_ROWS)


def _task(name: str, make: Callable[[draws.Draws], draws.Row]) -> ChatTask:
    return ChatTask(
        name=name,
        source=generator(partial(_talks, name, make), num_rows=_NUM_ROWS),
        role_names=_ROLE_NAMES,
        each_turn=True,  # which an encoder-decoder needs
        cluster="chats",
    )


TASKS = tuple(
    _task(name, make).register()
    for name, make in {"chat_about_a_pet": _pet, "chat_about_a_trip": _trip, "chat_about_a_meal": _meal}.items()
)

mixture("starter_chats", [task.name for task in TASKS])
