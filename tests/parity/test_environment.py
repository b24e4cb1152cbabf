import pytest


def test_torch_and_transformers_are_here():
    for name in ("torch", "transformers", "peft", "gguf"):
        pytest.importorskip(
            name, reason=f"tests/parity needs {name}, in an environment of its own: tests/parity/run.sh"
        )
