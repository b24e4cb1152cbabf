"""The command line: a bad input is one sentence and exit code 2, and settings win in the order that `--help` says."""

import dataclasses
import inspect
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax import command_line, config, main
from flan_jax.gin_files import config_folder
from flan_jax.macros import MACROS, T5X_NAMES

SHAPE = ["--mixture", "m", "--steps", "3"]


@pytest.fixture(autouse=True)
def caller(tmp_path, monkeypatch):
    """An empty folder to stand in, with `sys.path` put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def resolved(*argv: str) -> config.RunConfig:
    return main.resolve(*command_line.parse(argv))


def flan_jax(*argv: str, **more) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "flan_jax.main", *argv], capture_output=True, text=True, **more)


def write(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return name


def save_run(folder: str, **changes) -> config.RunConfig:
    """A run's folder as training leaves it, as far as its configuration goes."""
    run = dataclasses.replace(resolved("train", *SHAPE), run_dir=folder, **changes)
    write(f"{folder}/config.json", config.to_json(run))
    return run


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "MIXTURE = starter\n",
            "a.gin:1: 'starter' is not a gin value: a word needs quotes, as in MIXTURE = \"starter\"",
        ),
        ("STEPS = 3\nMIXTURE 'm'\n", "a.gin:2: cannot read"),
        ('MESH = {"data": 1\n', "a.gin: cannot be read as gin"),
        ('include "nowhere.gin"\n', "a.gin:1: no gin file 'nowhere.gin'"),
        ('include "a.gin"\n', "a.gin includes itself"),
        ("import no_such_module\nLoss.function = @no_such_module.fn\n", "a.gin:1: no module 'no_such_module'"),
    ],
)
def test_a_fault_in_a_gin_file_names_its_line(text, told, capsys):
    write("a.gin", text)
    assert main.main(["train", "--gin_file=a.gin"]) == 2
    captured = capsys.readouterr().err
    assert told in captured and captured.count("\n") == 1


def test_files_give_way_to_gin_flags_and_these_to_plain_flags():
    write("a.gin", 'MIXTURE = "a"\nSTEPS = 1\nBATCH_SIZE = 1\nSEED = 1\nModel.embed_dim = 64\n')
    write("b.gin", "BATCH_SIZE = 2\nSEED = 2\n")
    run = resolved("train", "--gin_file=a.gin", "--gin_file=b.gin", "--seed", "4", "--gin.SEED=3", "--gin.STEPS=3")
    assert (run.mixture, run.batch_size, run.steps, run.seed) == ("a", 2, 3, 4)
    assert run.model.embed_dim == 64 and run.model.local_heads  # over t5_starter.gin, which set both


def test_every_macro_has_a_flag_that_sets_it():
    values = {
        "MIXTURE": ("m", "m"), "MODEL": ("llama_60m", "llama_60m"), "INIT_FROM": ("runs/a", "runs/a"),
        "FEATURE_LENGTHS": ("inputs=8,targets=4", {"inputs": 8, "targets": 4}), "BATCH_SIZE": ("6", 6),
        "MICROBATCHES": ("2", 2), "STEPS": ("1_000", 1000), "EPOCHS": ("1.5", 1.5), "LEARNING_RATE": ("3e-4", 3e-4),
        "MESH": ("data=2,fsdp=-1", {"data": 2, "fsdp": -1}), "EVAL_MIXTURE": ("e", "e"), "EVAL_PERIOD": ("5", 5),
        "SAVE_PERIOD": ("6", 6), "LOG_PERIOD": ("7", 7), "RUN_DIR": ("r", "r"), "STORE_DIR": ("s", "s"),
        "SEED": ("8", 8), "LORA": ("16", 16),
    }  # fmt: skip
    beside = {"INIT_FROM": ["--model", "t5_starter"], "LORA": ["--model", "t5_starter", "--init_from", "runs/a"]}
    assert set(values) == set(MACROS)
    for name, (text, value) in values.items():
        length = [] if name in ("STEPS", "EPOCHS") else ["--steps", "3"]
        run = resolved("train", *(["--mixture", "x"] if name != "MIXTURE" else []), *length, f"--{name.lower()}", text,
                       *beside.get(name, []))  # fmt: skip
        section, _, key = MACROS[name].target.partition(".")
        assert getattr(run if section == "Run" else getattr(run, section.lower()), key) == value


@pytest.mark.parametrize(
    ("argv", "length"),
    [
        (["--gin_file=a.gin", "--epochs", "2"], (None, 2.0)),
        (["--gin_file=a.gin", "--gin.EPOCHS=3"], (None, 3.0)),
        (["--gin_file=a.gin", "--gin.EPOCHS=3", "--steps", "9"], (9, None)),
        (["--gin_file=a.gin"], (1, None)),
    ],
)
def test_of_steps_and_epochs_the_one_set_last_holds(argv, length):
    write("a.gin", 'MIXTURE = "a"\nSTEPS = 1\n')
    run = resolved("train", *argv)
    assert (run.steps, run.epochs) == length


def test_a_gin_file_is_found_beside_the_caller_before_the_packaged_one():
    assert resolved("train", "--gin_file=quickstart").mixture == "starter"
    write("quickstart.gin", 'MIXTURE = "mine"\nSTEPS = 1\n')
    assert resolved("train", "--gin_file=quickstart.gin").mixture == "mine"
    write("deep/base.gin", "BATCH_SIZE = 5\n")
    write("deep/run.gin", 'include "base.gin"\nMIXTURE = "deep"\nSTEPS = 1\n')
    run = resolved("train", "--gin_file=deep/run.gin")
    assert (run.mixture, run.batch_size, run.run_dir) == ("deep", 5, "runs/run")


def test_a_model_may_be_the_callers_own_file():
    write("tiny.gin", 'include "models/llama_starter.gin"\nModel.embed_dim = 32\n')
    run = resolved("train", *SHAPE, "--model", "tiny", "--gin.Model.mlp_dim=48")
    assert (run.model.architecture, run.model.embed_dim, run.model.mlp_dim) == ("decoder", 32, 48)


def test_a_macro_of_the_users_own_is_read():
    write("a.gin", 'WARM = 7\nMIXTURE = "m"\nSTEPS = %WARM\nOptimizer.warmup_steps = %WARM\n')
    run = resolved("train", "--gin_file=a.gin", "--gin.WARM=9")
    assert (run.steps, run.optimizer.warmup_steps) == (9, 9)


def test_a_setting_may_read_a_macro_that_is_another_settings():
    write("a.gin", "MIXTURE = 'm'\nOptimizer.warmup_steps = 5\nData.split = %MIXTURE\n")
    run = resolved("train", "--gin_file=a.gin", "--gin.Optimizer.warmup_steps=%STEPS", "--steps=40")
    assert (run.optimizer.warmup_steps, run.data.split) == (40, "m")


@pytest.mark.parametrize("path", sorted(config_folder().rglob("*.gin")), ids=lambda path: path.stem)
def test_every_packaged_gin_file_resolves(path):
    if path.parent.name == "models":
        run = resolved("train", *SHAPE, "--model", path.stem)
        assert run.model_name == path.stem and run.model.architecture == {"t5": "encoder_decoder", "llama": "decoder"}[
            path.stem.split("_")[0]
        ]  # fmt: skip
    else:
        run = resolved("plan", f"--gin_file={path.stem}", *([] if path.parent.name == "runs" else ["--steps", "3"]))
        assert run.mixture == "starter"


def test_published_models_have_their_published_shapes():
    wanted = {
        "t5_1_1_small": (512, 1024, 6, 8), "t5_1_1_base": (768, 2048, 12, 12), "t5_1_1_large": (1024, 2816, 16, 24),
        "t5_1_1_xl": (2048, 5120, 32, 24), "llama_60m": (512, 1376, 8, 8), "llama_1b": (2048, 8192, 32, 16),
        "llama_8b": (4096, 14336, 32, 32),
    }  # fmt: skip
    for name, shape in wanted.items():
        model = resolved("train", *SHAPE, "--model", name).model
        assert (model.embed_dim, model.mlp_dim, model.num_heads, model.num_decoder_layers) == shape
        assert model.head_dim in (64, 128) and (model.architecture == "decoder" or model.num_encoder_layers == shape[3])


def test_the_operative_text_resolves_to_the_same_run():
    first = resolved("train", "--gin_file=quickstart.gin", '--gin.Optimizer.name="adafactor"', "--steps", "7")
    write("operative.gin", first.operative)
    again = resolved("train", "--gin_file=operative.gin")
    assert first.optimizer.name == "adafactor" and first.steps == 7
    same = {name: getattr(first, name) for name in ("operative", "bindings", "module_folders")}
    assert dataclasses.replace(again, **same) == first


def test_init_from_brings_the_model_along_unless_another_is_named():
    save_run("runs/first", model=dataclasses.replace(config.ModelConfig(), embed_dim=96))
    assert resolved("train", *SHAPE, "--init_from", "runs/first").model.embed_dim == 96
    assert resolved(
        "train", *SHAPE, "--init_from", "runs/first", "--gin.Model.mlp_dim=40"
    ).model == dataclasses.replace(config.ModelConfig(), embed_dim=96, mlp_dim=40)
    assert resolved("train", *SHAPE, "--init_from", "runs/first", "--model", "t5_starter").model.embed_dim == 128


def test_eval_and_generate_start_from_the_saved_run():
    save_run("runs/first", mixture="saved", batch_size=5, epochs=2.0, steps=None)
    run = resolved("eval", "--run_dir", "runs/first", "--gin.Evaluation.max_examples=9")
    assert (run.mixture, run.batch_size, run.evaluation.max_examples, run.run_dir) == ("saved", 5, 9, "runs/first")
    assert resolved("generate", "--run_dir", "runs/first", "--seed", "3").seed == 3
    assert resolved("inspect", "--run_dir", "runs/first").mixture == "saved"
    write("first.gin", 'MIXTURE = "other"\n')  # the command line that trained serves as well
    assert resolved("eval", "--gin_file=first.gin").batch_size == 5


def test_a_damaged_run_folder_is_told(capsys):
    write("runs/bad/config.json", '{"mixture": 3, "feature_lengths": {}, "model": {}}')
    assert main.main(["eval", "--run_dir", "runs/bad"]) == 2
    assert "MIXTURE: wanted a string, got 3" in capsys.readouterr().err


def test_data_needs_no_gin_and_its_equivalent_means_the_same():
    write("chats.jsonl", '{"prompt": "a", "completion": "b"}\n')
    argv = ["--data", "chats.jsonl", "--seed", "3", "--gin.Model.dropout_rate=0.1"]
    run = resolved("train", *argv)
    assert run.mixture == "user_data" and run.epochs == 3.0 and run.run_dir == "runs/chats"
    assert run.data_files == (str(Path("chats.jsonl").resolve()),)
    gin_file, module = config.write_equivalent(run, run.run_dir)
    assert len(module.read_text().splitlines()) <= 25
    again = resolved("train", f"--gin_file={gin_file}")
    assert again.modules == ("user_data_task",) and again.data_files == ()
    assert str(gin_file.parent.resolve()) in again.module_folders
    same = {
        name: getattr(run, name) for name in ("operative", "bindings", "module_folders", "modules", "data_files")
    }  # fmt: skip
    assert dataclasses.replace(again, **same) == run
    assert resolved("train", *argv, "--steps", "4").epochs is None


def test_data_and_a_mixture_do_not_go_together(capsys):
    write("chats.jsonl", "{}\n")
    assert main.main(["train", "--data", "chats.jsonl", "--mixture", "starter"]) == 2
    assert "leave --mixture starter out" in capsys.readouterr().err


def test_fields_reach_the_task_module():
    write("table.csv", "question,reply\na,b\n")
    run = resolved("train", "--data", "table.csv", "--fields", "inputs=question,targets=reply", "--epochs", "1")
    assert run.data_fields == {"inputs": "question", "targets": "reply"}
    _, module = config.write_equivalent(run, "out")
    assert "fields={'inputs': 'question', 'targets': 'reply'}" in module.read_text()


def test_modules_are_checked_but_not_imported():
    write("pkg/__init__.py", "raise RuntimeError('imported')\n")
    write("pkg/tasks.py", "")
    assert resolved("train", *SHAPE, "--module", "pkg.tasks").modules == ("pkg.tasks",)
    with pytest.raises(main.UserError, match=r"no module 'pkg.task'"):
        resolved("train", *SHAPE, "--module", "pkg.task")


def test_every_subcommand_has_an_entry_point_that_takes_its_options():
    for command, target in main.ENTRY_POINTS.items():
        module, _, name = target.partition(":")
        function = getattr(main.importlib.import_module(module), name)
        positional = {"import": ["models/one"], "export": ["runs/one", "exported/one"]}
        _, options, _, _ = command_line.parse([command, *positional.get(command, [])])
        own = main.own_arguments(command, options) | ({"mixture": None} if command == "eval" else {})
        assert set(inspect.signature(function).bind("config", **own).arguments) == {"config", *own}, command


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


@pytest.mark.parametrize("command", [[], *([name] for name in command_line.COMMANDS)])
def test_help_shows_examples(command, capsys):
    assert main.main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert (
        "flan-jax train --gin_file=quickstart.gin" in out or f"flan-jax {command[0]} " in out.partition("examples:")[2]
    )
    for name in MACROS if command else ():
        assert f"--{name.lower()} " in out


def test_examples_in_help_are_understood():
    lines = [line.split("   ")[0].strip() for text in command_line.EPILOGS.values() for line in text.splitlines()]
    examples = [line for line in lines if line.startswith("flan-jax ")]
    assert len(examples) > 15
    for example in examples:
        command_line.parse(shlex.split(example.partition(" > ")[0])[1:])


def test_t5x_names_are_no_names_of_ours():
    assert not set(T5X_NAMES) & set(MACROS)


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


def test_a_gin_file_may_have_a_byte_order_mark_and_another_encoding_is_named():
    Path("marked.gin").write_bytes("STEPS = 7\n".encode("utf-8-sig"))
    assert resolved("plan", *SHAPE[:2], "--gin_file", "marked.gin").steps == 7
    Path("wide.gin").write_bytes("STEPS = 7\n".encode("utf-16"))
    done = flan_jax("plan", "--gin_file", "wide.gin")
    assert done.returncode == 2 and done.stderr == (
        "flan-jax: wide.gin is text in UTF-16, wanted UTF-8; save it again in that encoding.\n"
    )
