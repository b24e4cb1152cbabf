"""User code bound by gin: plain functions of a package outside the repo, found and called without a fork."""

import functools
import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flan_jax.config.kept import from_json, to_json
from flan_jax.config.run_config import RunConfig
from flan_jax.errors import UserError
from tests.config.caller import resolved

numbers = itertools.count()

OPTIMISERS = """
def my_optimizer(learning_rate, momentum=0.9):
    return ("mine", learning_rate, momentum)

def my_schedule(learning_rate, total_steps):
    return lambda step: learning_rate * (1 - step / total_steps)

def make_loss(power=1):
    def loss(logits, targets):
        return logits**power
    return loss

class Adam:
    def __init__(self, learning_rate, b1=0.9):
        self.b1 = b1

NOT_A_FUNCTION = 3
"""


@pytest.fixture
def package(tmp_path):
    """A package of the caller's own, under a name that no other test has imported."""
    name = f"their_pkg_{next(numbers)}"
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text(OPTIMISERS)
    (tmp_path / name / "deep.py").write_text(OPTIMISERS)
    yield name
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


def run_of(text: str, *argv: str) -> RunConfig:
    Path("run.gin").write_text(f'MIXTURE = "m"\nSTEPS = 10\n{text}')
    return resolved("train", "--gin_file=run.gin", *argv)


@pytest.mark.parametrize(
    ("imports", "reference"),
    [
        ("import {p}", "{p}.my_optimizer"),
        ("import {p}", "my_optimizer"),
        ("import {p}.deep", "{p}.deep.my_optimizer"),
        ("import {p}.deep as d", "d.my_optimizer"),
        ("from {p} import deep", "deep.my_optimizer"),
        ("import {p}", "{p}.deep.my_optimizer"),
        ("from __gin__ import dynamic_registration\nimport {p}", "{p}.my_optimizer"),
        ("", "{p}.my_optimizer"),
    ],
)
def test_a_plain_function_is_bound_however_it_is_imported(package, imports, reference):
    text = f"{imports}\nOptimizer.factory = @{reference}\n{reference}.momentum = 0.5\n".replace("{p}", package)
    run = run_of(text)
    assert run.optimizer.factory is not None
    assert run.optimizer.factory(learning_rate=1.0) == ("mine", 1.0, 0.5)
    assert run.modules == ()  # used here, so it is not a module of tasks


def test_schedule_loss_and_a_class_are_bound(package):
    run = run_of(
        f"import {package}\nOptimizer.schedule = @{package}.my_schedule\nOptimizer.factory = @{package}.Adam\n"
        f"{package}.Adam.b1 = 0.1\nLoss.function = @{package}.make_loss()\n{package}.make_loss.power = 2\n"
    )
    assert callable(run.optimizer.schedule) and run.optimizer.schedule(2.0, 10)(5) == 1.0
    assert run.optimizer.factory is not None and run.optimizer.factory(learning_rate=1).b1 == 0.1
    assert run.loss.function is not None and run.loss.function(3, None) == 9


def test_a_library_function_needs_no_package_of_ones_own(package):
    optax = pytest.importorskip("optax")
    run = run_of("import optax\nOptimizer.factory = @optax.sgd\noptax.sgd.momentum = 0.25\n")
    assert isinstance(run.optimizer.factory, functools.partial)
    assert run.optimizer.factory.func is optax.sgd and run.optimizer.factory.keywords == {"momentum": 0.25}


def test_a_function_that_is_decorated_for_gin_works_as_well(package):
    decorated = (
        "import gin\n\n@gin.configurable\ndef decorated(learning_rate, scale=1):\n    return learning_rate * scale\n"
    )
    Path(package, "decorated.py").write_text(decorated)
    run = run_of(f"import {package}.decorated\nOptimizer.factory = @decorated\ndecorated.scale = 3\n")
    assert run.optimizer.factory is not None and run.optimizer.factory(learning_rate=2) == 6


def test_an_import_that_nothing_refers_to_brings_tasks(package):
    Path(package, "tasks.py").write_text("raise RuntimeError('imported in the training process')\n")
    run = run_of(f"import {package}.tasks\n", "--module", f"{package}.deep")
    assert run.modules == (f"{package}.tasks", f"{package}.deep")
    assert f"{package}.tasks" not in sys.modules


def test_modules_beside_the_gin_file_are_found(package):
    Path("elsewhere").mkdir()
    Path("elsewhere/beside_it.py").write_text(OPTIMISERS)
    Path("elsewhere/run.gin").write_text(
        'import beside_it\nMIXTURE = "m"\nSTEPS = 1\nOptimizer.factory = @beside_it.my_optimizer\n'
    )
    run = resolved("train", "--gin_file=elsewhere/run.gin")
    assert run.optimizer.factory is not None and run.optimizer.factory(1)[0] == "mine"
    assert os.path.abspath("elsewhere") in run.module_folders
    del sys.modules["beside_it"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import {p}\nLoss.function = @{p}.make_los\n", ["run.gin:4", "make_los'", "did you mean '{p}.make_loss'"]),
        ("import {p}\nLoss.function = @{p}.NOT_A_FUNCTION\n", ["no function or class '{p}.NOT_A_FUNCTION'"]),
        ("import {p}\n{p}.my_optimizer.momentun = 1\n", ["run.gin:4", "momentun", "did you mean 'momentum'"]),
        ("import {p}.broken\nLoss.function = @{p}.broken.fn\n", ["run.gin:3", "ZeroDivisionError", "division by zero"]),
        ("import {p}\nOptimizer.factory = @{p}.my_optimizer()\n", ["TypeError", "learning_rate"]),
        ("import {p}\nOptimizer.learning_rate = @{p}.make_loss\n", ["write LEARNING_RATE = @{p}.make_loss"]),
        ("import {p}\nLEARNING_RATE = @{p}.make_loss\n", ["LEARNING_RATE (run.gin:4): wanted a number"]),
        ("import {p}\nOptimizer.factory = @no_such_function\n", ["run.gin:4", "'no_such_function'"]),
    ],
)
def test_faults_in_what_is_bound_name_the_line(package, text, told):
    Path(package, "broken.py").write_text("1 / 0\n")
    with pytest.raises(UserError) as fault:
        run_of(text.replace("{p}", package))
    for part in told:
        assert part.replace("{p}", package) in str(fault.value)


def test_bindings_of_one_command_do_not_reach_the_next(package):
    run_of(f"import {package}\nOptimizer.factory = @{package}.my_optimizer\nModel.embed_dim = 32\n")
    assert run_of("").optimizer.factory is None and run_of("").model.embed_dim == 128


def test_the_operative_text_brings_user_code_back(package):
    first = run_of(
        f"import {package}\nOptimizer.factory = @{package}.my_optimizer\n{package}.my_optimizer.momentum = 0.5\n"
    )
    Path("again.gin").write_text(first.operative)
    again = resolved("train", "--gin_file=again.gin")
    assert again.optimizer.factory is not None and again.optimizer.factory(1) == ("mine", 1, 0.5)


def test_user_code_comes_back_from_a_saved_run(package):
    first = run_of(
        f"import {package}\nOptimizer.factory = @{package}.my_optimizer\n{package}.my_optimizer.momentum = 0.5\n"
        f"Loss.function = @{package}.make_loss()\n"
    )
    again = from_json(to_json(first))
    assert again.optimizer.factory is not None and again.optimizer.factory(1) == ("mine", 1, 0.5)
    assert again.loss.function is not None  # made by a call, so its name leads nowhere: told when it is called
    with pytest.raises(UserError, match=r"make_loss.<locals>.loss"):
        again.loss.function(1, 2)


def test_user_code_is_bound_from_outside_the_repo_in_a_real_process(package, tmp_path):
    (tmp_path / package / "stand_in.py").write_text(
        "def show(config):\n    print(config.optimizer.factory(learning_rate=2.0), config.operative)\n"
    )
    (tmp_path / "run.gin").write_text(
        f'import {package}\nMIXTURE = "m"\nSTEPS = 1\nOptimizer.factory = @{package}.my_optimizer\n'
    )
    code = (
        "import sys; from flan_jax import main\n"
        f"main.ENTRY_POINTS['train'] = '{package}.stand_in:show'\n"
        "sys.exit(main.main(['train', '--gin_file=run.gin']))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "('mine', 2.0, 0.9)" in done.stdout and f"import {package}" in done.stdout
