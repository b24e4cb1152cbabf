"""What a command line of `sweep` means: values, their product, folders, and what is refused before the first run."""

import re
import shlex

import pytest

from flan_jax.config import command_line
from flan_jax.config.command_options import own_arguments
from flan_jax.config.gin_files import config_folder
from flan_jax.config.sweeps import folder_name, launch, runs_of, split_values
from flan_jax.errors import UserError
from tests.config.caller import resolved, write

BASE = 'MIXTURE = "m"\nSTEPS = 3\nRUN_DIR = "out"\n'


def sweep(*argv):
    """The runs that a command line of `sweep` means."""
    _, options, macros, bindings = command_line.parse(["sweep", *argv])
    own_arguments("sweep", options)
    return runs_of(options, macros, bindings)


def refused(*argv):
    with pytest.raises(UserError) as fault:
        sweep(*argv)
    return str(fault.value)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3", ["3"]),
        ('"a,b", "it\'s, c"', ['"a,b"', '"it\'s, c"']),
        ("((0.0, 0.5), (1.0, 0.1)), 0.2", ["((0.0, 0.5), (1.0, 0.1))", "0.2"]),
        ("{'inputs': 64, 'targets': 16},\n{'inputs': 32, 'targets': 8}", None),
        ("@optax.sgd(), %RATE", ["@optax.sgd()", "%RATE"]),
        ('"left open, 1', ['"left open, 1']),
    ],
)
def test_only_commas_outside_of_brackets_and_quotes_part_values(text, parts):
    wanted = parts or ["{'inputs': 64, 'targets': 16}", "{'inputs': 32, 'targets': 8}"]
    assert split_values(text) == wanted


def test_flags_and_files_give_the_product_with_seeds_changing_fastest():
    write("a.gin", BASE + 'SWEEP = {"SEED": (0, 1), "Optimizer.name": ("adamw", "adafactor")}\n')
    runs = sweep("--gin_file=a.gin", "--gin.FEATURE_LENGTHS={'inputs': 8, 'targets': 4},{'inputs': 16, 'targets': 4}")
    found = [
        (run.configs[0].optimizer.name, run.configs[0].feature_lengths["inputs"], run.configs[0].seed) for run in runs
    ]
    assert found == [(name, size, seed) for name in ("adamw", "adafactor") for size in (8, 16) for seed in (0, 1)]
    assert all(run.configs[0].steps == 3 and not run.configs[0].sweep for run in runs)


def test_each_run_has_a_folder_named_after_its_values_whoever_wrote_them():
    write("a.gin", BASE + 'SWEEP = {"LEARNING_RATE": (0.001, 0.0003), "SEED": (0,)}\n')
    by_file = sweep("--gin_file=a.gin")
    by_flag = sweep("--gin_file=a.gin", "--gin.LEARNING_RATE=1e-3,3e-4")
    assert [run.run_dir for run in by_file] == ["out/LEARNING_RATE=0.001,SEED=0", "out/LEARNING_RATE=0.0003,SEED=0"]
    assert [run.run_dir for run in by_flag] == [run.run_dir for run in by_file]
    assert [run.configs[0].run_dir for run in by_file] == [run.run_dir for run in by_file]
    assert by_file[1].label == "LEARNING_RATE=0.0003 SEED=0"
    assert by_file[1].configs[0].operative == by_flag[1].configs[0].operative  # which says that a run is the same


def test_folders_of_unlike_values_stay_apart_where_signs_are_left_out_or_names_cut():
    odd = [folder_name({"MIXTURE": text}) for text in ("a/b", "a b", "a_b", "x" * 200, "x" * 201)]
    assert len(set(odd)) == 5 and odd[2] == "MIXTURE=a_b"
    assert all(len(name) < 120 and "/" not in name and " " not in name for name in odd)


def test_cases_change_several_settings_together():
    cases = '{"plain": {}, "capped": {"Hygiene.min_words": 2, "STEPS": 5}}'
    write("a.gin", BASE + f'SWEEP = {{"case": {cases}, "SEED": (0, 1)}}\n')
    runs = sweep("--gin_file=a.gin")
    found = [(run.values["case"], run.configs[0].steps, run.configs[0].seed) for run in runs]
    assert found == [("plain", 3, 0), ("plain", 3, 1), ("capped", 5, 0), ("capped", 5, 1)]
    unnamed = sweep("--gin_file=a.gin", "--sweep", "{'case': ({}, {'STEPS': 5, 'SEED': 7})}")
    assert [run.values["case"] for run in unnamed] == ["plain", "STEPS=5,SEED=7"]
    assert [run.configs[0].seed for run in unnamed] == [0, 7]


def test_a_flag_takes_the_place_of_what_a_file_varies():
    write("a.gin", BASE + 'SWEEP = {"LEARNING_RATE": (1e-3, 3e-4), "SEED": (0, 1, 2)}\n')
    assert [run.values for run in sweep("--gin_file=a.gin", "--seed", "5")] == [
        {"LEARNING_RATE": "0.001"},
        {"LEARNING_RATE": "0.0003"},
    ]
    assert [run.configs[0].seed for run in sweep("--gin_file=a.gin", "--seed", "5")] == [5, 5]
    assert len(sweep("--gin_file=a.gin", "--gin.LEARNING_RATE=1e-2")) == 3
    assert [run.values["SEED"] for run in sweep("--gin_file=a.gin", "--gin.LEARNING_RATE=1", "--gin.SEED=8,9")] == [
        "8",
        "9",
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--gin.LERNING_RATE=1e-3,1e-4"], "run LERNING_RATE=0.001: .* macro 'LERNING_RATE'; .* 'LEARNING_RATE'"),
        (["--gin.Modl.remat='full','none'"], "there is no 'Modl' to set 'remat' of; did you mean 'Model'"),
        (["--gin.SEED=0,-1"], "run SEED=-1: .*SEED is -1"),
        (["--gin.SEED=0,1,"], "--gin.SEED=0,1,: a value of the list is empty"),
        (["--gin.SEED=0,1,0"], "SEED has 0 twice"),
        (["--gin.SEED=0"], "a sweep varies nothing here; give a setting several values, as --gin.SEED=0,1,2"),
        (["--gin.RUN_DIR='a','b'"], "RUN_DIR cannot be swept"),
        (["--gin.SEED=3,4", "--seed", "5"], "varies SEED, and a flag settles it"),
        (["--gin.STEPS=3,4", "--epochs", "1"], "varies STEPS, and a flag settles EPOCHS"),
        (["--sweep", "{'case': ({'STEPS': 1},), 'STEPS': (1, 2)}"], "sets STEPS, which is swept beside it"),
        (["--sweep", "{'case': ({'STEPS': 1},)}", "--steps", "9"], "varies STEPS, and a flag settles it"),
        (["--sweep", "{'case': (1, 2)}"], "wanted settings by the names of cases"),
        (["--sweep", "{'SEED': ()}"], "SWEEP has 'SEED': .*wanted"),
        (["--gin.SWEEP=(1, 2)"], "SWEEP is .*wanted"),
        (["--gin.A=1,2,3,4,5,6,7,8,9,10,11", *(f"--gin.{c}=0,1" for c in "BCDEFGHIJK")], "more than 10,000 runs"),
        (["--gin.SEED=0,1", "--report", "--write", "x"], "keep one"),
    ],
)  # fmt: skip
def test_what_makes_no_sweep_is_refused_by_name(argv, said):
    write("a.gin", 'MIXTURE = "m"\nSTEPS = 3\n')
    assert re.search(said, refused("--gin_file=a.gin", *argv), re.S)


def test_a_gin_file_that_cannot_be_read_is_told_as_such():
    write("a.gin", BASE + 'SWEEP = {"SEED": (0, 1}\n')
    assert "a.gin:4" in (said := refused("--gin_file=a.gin")) and "varies nothing" not in said


def test_train_does_not_pass_a_sweep_over():
    write("a.gin", BASE + 'SWEEP = {"SEED": (0, 1)}\n')
    with pytest.raises(UserError, match="SWEEP varies SEED: `flan-jax sweep` trains these runs"):
        resolved("train", "--gin_file=a.gin")
    assert resolved("train", "--gin_file=a.gin", "--sweep", "{}").seed == 0


def test_a_launch_command_means_the_run_itself():
    write("a.gin", BASE + 'SWEEP = {"SEED": (0, 1)}\n')
    argv = ["--gin_file=a.gin", "--gin.Optimizer.name='adafactor'", "--gin.MIXTURE='a b','it\"s'", "--steps=4"]
    command, options, macros, bindings = command_line.parse(["sweep", *argv, "--write", "x", "--show", "a task"])
    words = own_arguments(command, options)["words"]
    for run in runs_of(options, macros, bindings):
        said = shlex.split(launch(run, words))
        assert said[:2] == ["flan-jax", "train"]
        assert resolved(*said[1:]) == run.configs[0]


@pytest.mark.parametrize(
    "path", sorted((config_folder() / "runs/demonstrations").glob("*.gin")), ids=lambda path: path.stem
)
def test_every_demonstration_has_a_control_and_three_seeds(path):
    runs = sweep(f"--gin_file=demonstrations/{path.name}")
    assert len({run.values["SEED"] for run in runs}) >= 3 and len(runs) >= 6
    assert runs[0].run_dir.startswith(f"runs/demonstrations/{path.stem}/")
