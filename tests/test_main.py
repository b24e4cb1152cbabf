"""A command is handed what it takes, and a bad input is one sentence and exit code 2."""

import inspect
import os
import subprocess
import sys

import pytest

from flan_jax import main
from flan_jax.config import command_line
from tests.config.caller import SHAPE, save_run, write


@pytest.fixture(autouse=True)
def caller(tmp_path, monkeypatch):
    """An empty folder to stand in, with `sys.path` put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def flan_jax(*argv: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "flan_jax.main", *argv], capture_output=True, text=True, **more)


BAD = {
    "missing gin file": (["train", "--gin_file=quikstart.gin"], ["quikstart.gin", "did you mean 'quickstart'"]),
    "unknown macro": (["train", "--gin.STESP=3"], ["STESP", "did you mean 'STEPS'"]),
    "macro in small letters": (["train", "--gin.steps=3"], ["'steps'", "did you mean 'STEPS'"]),
    "scoped macro": (["train", "--gin.a/STEPS=3"], ["a/STEPS", "scope", "write STEPS"]),
    "T5X macro": (["train", "--gin.TRAIN_STEPS=3"], ["TRAIN_STEPS is T5X's name", "STEPS"]),
    "unknown section": (["train", "--gin.Modle.embed_dim=3"], ["Modle", "did you mean 'Model'"]),
    "T5X configurable": (["train", "--gin.train.total_steps=3"], ["'train'", "the sections are Run, Model"]),
    "unknown parameter": (["train", "--gin.Model.embed_dmi=3"], ["embed_dmi", "did you mean 'embed_dim'"]),
    "T5X parameter": (["train", "--gin.Run.train_steps=3"], ["train_steps"]),
    "inner parameter": (["train", "--gin.Run.operative='x'"], ["Run has no setting 'operative'"]),
    "scoped section": (["train", "--gin.a/Model.embed_dim=3"], ["scope", "write Model.embed_dim"]),
    "macro's target": (["train", "--gin.Run.steps=3"], ["write STEPS = 3"]),
    "unset macro read": (["train", "--gin.Optimizer.warmup_steps=%WARM"], ["nothing sets WARM"]),
    "word without quotes": (
        ["train", "--gin.MIXTURE=starter"],
        ["""type --gin.MIXTURE='"starter"'""", "--mixture starter"],
    ),
    "open bracket": (["train", '--gin.MESH={"data": 1'], ["--gin.MESH", "bracket"]),
    "wrong type": (["train", *SHAPE, '--gin.BATCH_SIZE="big"'], ["BATCH_SIZE", "wanted a whole number, got 'big'"]),
    "bool for number": (["train", *SHAPE, "--gin.BATCH_SIZE=True"], ["BATCH_SIZE", "whole number, got True"]),
    "wrong choice": (["train", *SHAPE, '--gin.Data.on_long="cut"'], ["Data.on_long", "'truncate', 'refuse', 'drop'"]),
    "wrong model": (["train", *SHAPE, '--gin.Model.remat="al"'], ["remat is 'al'", "none, dots, full"]),
    "wrong optimizer": (["train", *SHAPE, "--gin.Optimizer.b1=2.0"], ["b1 is 2.0"]),
    "out of range": (["train", *SHAPE, "--batch_size", "0"], ["BATCH_SIZE is 0, wanted 1 or more"]),
    "lengths": (["train", *SHAPE, "--feature_lengths", "inputs=4"], ["FEATURE_LENGTHS", "'targets'"]),
    "mesh": (["train", *SHAPE, "--mesh", "data=-1,fsdp=-1"], ["MESH"]),
    "no mixture": (["train", "--steps", "3"], ["MIXTURE is not set", "--mixture"]),
    "no length": (["train", "--mixture", "m"], ["neither STEPS nor EPOCHS", "--steps"]),
    "two lengths": (["train", *SHAPE, "--epochs", "2"], ["both STEPS and EPOCHS", "keep one"]),
    "unknown function": (["train", "--gin.Optimizer.factory=@optax.adamm"], ["optax.adamm", "'optax.adam'"]),
    "unknown package": (["train", "--gin.Loss.function=@nopkg.fn"], ["nothing imports 'nopkg.fn'", "import nopkg"]),
    "unknown model": (["train", *SHAPE, "--model", "t5_starte"], ["no model 't5_starte'", "did you mean 't5_starter'"]),
    "model no word": (["train", *SHAPE, "--gin.MODEL=3"], ["MODEL is 3", "in quotes"]),
    "unknown module": (["train", *SHAPE, "--module", "nopkg.tasks"], ["--module nopkg.tasks", "no module 'nopkg'"]),
    "init_from nowhere": (["train", *SHAPE, "--init_from", "runs/x"], ["no run in 'runs/x'", "INIT_FROM"]),
    "unknown command": (["trian"], ["no command 'trian'", "did you mean 'train'"]),
    "unknown flag": (["train", "--stepz", "3"], ["'--stepz'", "'--steps'"]),
    "flag with dashes": (["train", "--run-dir", "x"], ["'--run-dir'", "'--run_dir'"]),
    "T5X flag": (["train", "--model_dir", "x"], ["'--model_dir'", "here it is --run_dir"]),
    "flag's value": (["train", "--steps", "four"], ["--steps takes a whole number, got 'four'"]),
    "fraction of a step": (["train", "--steps", "2.5"], ["--steps takes a whole number, got '2.5'"]),
    "flag's pairs": (["train", "--mesh", "data:1"], ["--mesh takes NAME=SIZE", "'data:1'"]),
    "flag without value": (["train", "--steps"], ["--steps", "expected one argument"]),
    "binding without value": (["train", "--gin.STEPS"], ["--gin.STEPS has no value", "--gin.STEPS=VALUE"]),
    "modules of no kind": (["train", *SHAPE, "--gin.Run.modules=1.5"], ["Run.modules is 1.5, wanted a tuple of words"]),
    "modules of numbers": (["train", *SHAPE, "--gin.Run.modules=[1, 2]"], ["Run.modules is [1, 2], wanted a tuple of"]),
    "folder of modules": (["train", *SHAPE, "--gin.Run.module_folders='a'"], ["is 'a', wanted a tuple: ('a',)"]),
    "folder that is none": (["train", *SHAPE, "--gin.RUN_DIR=0"], ["RUN_DIR", "wanted a string, got 0"]),
    "model's name too long": (["train", *SHAPE, "--model", "x" * 5000], ["'xxx", "File name too long", "another path"]),
    "vocabulary as a folder": (
        ["vocab", "--mixture=starter", "--output=."],
        ["--output is '.', a folder; wanted a file's"],
    ),
    "vocabulary without a name": (
        ["vocab", "--mixture=starter", "--output="],
        ["--output is '', a folder; wanted a file's"],
    ),
    "vocabulary nowhere": (["vocab", "--mixture=starter", "--output=no/v"], ["--output is 'no/v'", "no folder 'no'"]),
    "no data file": (["train", "--data", "chats.jsonl"], ["--data chats.jsonl", "no such file"]),
    "fields without data": (["train", *SHAPE, "--fields", "inputs=a"], ["--fields", "--data"]),
    "eval of nothing": (["eval"], ["which run?", "--run_dir"]),
    "eval of no run": (["eval", "--run_dir", "runs/x"], ["no run in 'runs/x'", "no such folder"]),
    "inspect of no run": (["inspect", "--run_dir", "runs/x"], ["no run in 'runs/x'"]),
    "two kinds of prompt": (["generate", "--run_dir", "x", "--prompt", "a", "--prompts", "b"], ["keep one"]),
    "score without prompts": (["generate", "--run_dir", "x", "--score"], ["--prompts"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_code_2(name, capsys):
    argv, told = BAD[name]
    assert main.main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("flan-jax: ") and captured.err.count("\n") == 1 and captured.out == ""
    for part in told:
        assert part in captured.err


def test_faults_are_told_together_with_their_places(capsys):
    write("a.gin", 'MIXTURE = "m"\nSTEPS = "many"\n\nBATCH_SIZE = 1.5\nMODEL = "t5_starter"\n')
    assert main.main(["train", "--gin_file=a.gin", "--seed", "-1"]) == 2
    told = capsys.readouterr().err
    assert "3 settings" in told and "STEPS (a.gin:2): wanted" in told and "BATCH_SIZE (a.gin:4): wanted" in told
    assert "SEED is -1" in told
    write("b.gin", "STESP = 3\nModel.embd_dim = 4\n")
    assert main.main(["train", "--gin_file=b.gin"]) == 2
    told = capsys.readouterr().err
    assert "2 faults" in told and "b.gin:1: nothing reads" in told and "b.gin:2: Model has no" in told


def test_a_damaged_run_folder_is_told(capsys):
    write("runs/bad/config.json", '{"mixture": 3, "feature_lengths": {}, "model": {}}')
    assert main.main(["eval", "--run_dir", "runs/bad"]) == 2
    assert "MIXTURE: wanted a string, got 3" in capsys.readouterr().err


def test_data_and_a_mixture_do_not_go_together(capsys):
    write("chats.jsonl", "{}\n")
    assert main.main(["train", "--data", "chats.jsonl", "--mixture", "starter"]) == 2
    assert "leave --mixture starter out" in capsys.readouterr().err


def test_every_subcommand_has_an_entry_point_that_takes_its_options():
    for command, target in main.ENTRY_POINTS.items():
        module, _, name = target.partition(":")
        function = getattr(main.importlib.import_module(module), name)
        positional = {"import": ["models/one"], "export": ["runs/one", "exported/one"], "compare": ["runs/a", "runs/b"]}
        positional |= {"average": ["runs/one", "runs/mean"], "rescore": ["runs/one"]}
        _, options, _, _ = command_line.parse([command, *positional.get(command, [])])
        own = main.own_arguments(command, options) | ({"mixture": None} if command in ("compare", "eval") else {})
        first = "runs" if command == "sweep" else "config"
        assert set(inspect.signature(function).bind(first, **own).arguments) == {first, *own}, command


def test_a_commands_own_options_reach_its_function(monkeypatch):
    write("stand_in.py", "seen = {}\ndef command(config, **own):\n    seen.update(own, config=config)\n    return 3\n")
    sys.path.append(os.getcwd())
    import stand_in  # type: ignore

    monkeypatch.setattr(main, "ENTRY_POINTS", dict.fromkeys(main.ENTRY_POINTS, "stand_in:command"))
    save_run("runs/first", mixture="saved")
    assert main.main(["eval", "--run_dir", "runs/first", "--mixture", "held_out", "--step", "8"]) == 3
    assert (stand_in.seen["mixture"], stand_in.seen["step"]) == ("held_out", 8)
    assert (stand_in.seen["config"].mixture, stand_in.seen["config"].run_dir) == ("saved", "runs/first")
    main.main(["generate", "--run_dir", "runs/first", "--prompts", "p.jsonl", "--score"])
    assert stand_in.seen["prompts_file"] == "p.jsonl" and stand_in.seen["score"]
    main.main(["generate", "--run_dir", "runs/first", "--temperature", "0.5", "--top_p", "0.9"])
    assert (stand_in.seen["temperature"], stand_in.seen["top_p"], stand_in.seen["top_k"]) == (0.5, 0.9, 0)
    assert stand_in.seen["prompt"] is None and stand_in.seen["prompts_file"] is None
    main.main(["plan", *SHAPE, "--json"])
    assert stand_in.seen["as_json"] is True and stand_in.seen["estimate"] is False
    main.main(["tasks", "sentiment"])
    assert stand_in.seen["query"] == "sentiment"


def test_help_and_a_mistyped_flag_cost_nothing():
    code = (
        "import sys; from flan_jax import main;"
        "codes = main.main(['train', '--help']), main.main(['train', '--stepz']);"
        "print([name for name in ('jax', 'tensorflow', 'seqio', 'numpy') if name in sys.modules], codes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[] (0, 2)"


def test_real_processes_end_with_code_2_and_a_line_for_each_fault():
    done = flan_jax("train", "--gin_file=nope.gin")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("flan-jax: no gin file 'nope.gin'")
    done = flan_jax("train", "--gin_file=quickstart.gin", "--gin.STESP=3", "--gin.BATCH_SIZE=two")
    assert done.returncode == 2
    first, *faults = done.stderr.splitlines()
    assert first == "flan-jax: 2 faults:" and len(faults) == 2, done.stderr
    assert any("STESP" in line for line in faults) and any("BATCH_SIZE" in line for line in faults)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_closed_standard_stream_is_put_nothing_in_place_of(number):
    used = "sys.stdin.read(), sys.stdout.flush(), sys.stderr.flush(), sys.exit(open(os.devnull).fileno())"
    code = f"import os, sys; from flan_jax import main; main._open_streams(); {used}"
    again = f"import os, sys; os.close({number}); os.execv(sys.executable, [sys.executable, '-c', sys.argv[1]])"
    done = subprocess.run([sys.executable, "-c", again, code], capture_output=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 3, done  # the number of the next file


def test_streams_take_any_text():
    code = "import sys; from flan_jax import main; main._open_streams(); print('\\u2581', ascii(input()))"
    how = {"env": {**os.environ, "PYTHONIOENCODING": "ascii:strict"}, "input": b"a\xff\n", "capture_output": True}
    done = subprocess.run([sys.executable, "-c", code], **how)
    assert done.stdout == b"\\u2581 'a\\udcff'\n", done


def test_a_reader_that_leaves_early_is_no_fault():
    read, wrote = os.pipe()
    os.close(read)
    with os.fdopen(wrote, "w") as pipe:
        done = subprocess.run(
            [sys.executable, "-m", "flan_jax.main", "train", "--help"], stdout=pipe, stderr=subprocess.PIPE
        )
    assert done.stderr == b""


def test_huge_pages_are_asked_for_once_and_change_nothing_else(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    command = [sys.executable, "-m", "flan_jax.main", "train", "--gin_file", "no such file.gin"]
    told = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert told.returncode == 2 and "no such file.gin" in told.stderr
    again = subprocess.run(
        command, cwd=tmp_path, env=environment | {"GLIBC_TUNABLES": ""}, capture_output=True, text=True
    )
    assert (again.returncode, again.stderr) == (told.returncode, told.stderr)
