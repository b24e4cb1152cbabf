"""Options that would do nothing, or are out of range, are refused before anything is read."""

import pytest

from flan_jax.config import command_line
from flan_jax.config.command_options import own_arguments
from flan_jax.errors import UserError, told


def given(*argv):
    command, options, _, _ = command_line.parse(argv)
    return own_arguments(command, options)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--max_new_tokens 0", ["--max_new_tokens is 0, wanted 1 or more"]),
        ("--max_new_tokens -3", ["--max_new_tokens is -3"]),
        ("--top_p 0.9", ["--top_p only limits what is drawn", "--temperature above 0"]),
        ("--top_k 5", ["--top_k only limits what is drawn"]),
        ("--temperature 0.5 --num_beams 2", ["a beam search draws nothing"]),
        ("--temperature -1", ["--temperature is -1.0"]),
        ("--temperature 1 --top_p 0", ["--top_p is 0.0, wanted more than 0"]),
        ("--length_penalty 2", ["--length_penalty weighs beams", "--num_beams 2"]),
        ("--score --output x", ["--score goes with --prompts FILE", "--output goes with --prompts FILE"]),
        (
            "--prompts a --score --top_p 0.5 --scores",
            ["--score writes no answers, so --top_p, --scores would do nothing"],
        ),
        ("--prompt a --prompts b", ["both given"]),
        ("--prompts=", ["--prompts is empty"]),
        ("--stop=", ["--stop is an empty text"]),
        ("--step -1", ["--step is -1"]),
    ],
)
def test_options_of_generate_that_would_do_nothing_are_refused(argv, words):
    with pytest.raises(UserError) as refused:
        given("generate", *argv.split(" "))
    lines = told(str(refused.value)).splitlines()
    assert all(any(word in line for line in lines) for word in words), lines


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ("inspect --num -3", "--num is -3, wanted 1 or more"),
        ("inspect --step 0", "steps count from 1"),
        ("inspect --step 2 --task t", "keep one"),
        ("inspect --split validation", "--split goes with --task NAME"),
        ("inspect --step 99999999999999999999999", "--step is 99,999,999,999,999,999,999,999, wanted 2,147,483,647 or"),
        ("vocab --size 3000000000", "--size is 3,000,000,000, wanted 2,147,483,647 or less"),
        ("generate --prompt a --num_beams 4097", "--num_beams is 4,097, wanted 4,096 or less"),
        ("vocab --size 0 --max_examples 0", "--size is 0, wanted 1 or more"),
        (
            "plan --compare a.gin b.gin --gin_file c.gin",
            "--compare names the gin files of two runs; leave --gin_file out",
        ),
        ("plan --compare a.gin a.gin", "--compare has a.gin twice; name two gin files"),
        ("train --fields inputs=a --held_out 3", "2 faults:\n- --fields names the columns of --data FILE"),
        ("train --fields inputs=a --held_out 3", "--held_out keeps rows of --data FILE apart"),
    ],
)
def test_options_of_commands_that_look_are_refused(argv, word):
    with pytest.raises(UserError) as refused:
        given(*argv.split())
    assert word in str(refused.value)


def test_all_faults_of_options_are_told_a_line_each():
    with pytest.raises(UserError) as refused:
        given("generate", "--max_new_tokens", "0", "--top_p", "7", "--stop=")
    first, *faults = told(str(refused.value)).splitlines()
    assert first == "4 faults:" and len(faults) == 4 and all(line.startswith("  --") for line in faults)


def test_what_was_not_given_has_its_default():
    own = given("generate", "--prompt", "a")
    assert (own["temperature"], own["top_k"], own["top_p"], own["num_beams"], own["length_penalty"]) == (0, 0, 1, 1, 1)
    assert own["max_new_tokens"] is None
    assert given("generate", "--prompts", "a", "--num_beams", "3", "--length_penalty", "0.5")["length_penalty"] == 0.5
