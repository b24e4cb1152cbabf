import pytest


@pytest.mark.parametrize("name", ["torch", "transformers", "peft", "gguf"])
def test_what_the_comparison_needs_is_here(name):
    found = pytest.importorskip(name, reason=f"tests/parity needs {name}, by an environment of its own: run.sh there")
    assert found.__name__ == name
