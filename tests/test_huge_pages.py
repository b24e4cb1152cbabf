import pytest

from flan_jax import huge_pages


@pytest.mark.parametrize(
    ("platforms", "devices", "cpu"),
    [
        (None, [], True),
        (None, ["/dev/accel0"], False),
        (None, ["/dev/nvidia0"], False),
        ("cpu", ["/dev/nvidia0"], True),
        ("cuda,cpu", [], False),
        ("", ["/dev/vfio/0"], False),
    ],
)
def test_huge_pages_are_for_a_cpu_that_computes(monkeypatch, platforms, devices, cpu):
    """On a TPU pod or beside a GPU nothing is started anew."""
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if platforms is not None:
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
    prefix = lambda pattern: pattern.split("[")[0].rstrip("*")
    there = lambda pattern: [one for one in devices if one.startswith(prefix(pattern))]
    monkeypatch.setattr(huge_pages.glob, "glob", there)
    started = []
    monkeypatch.setattr(huge_pages.os, "execv", lambda *command: started.append(command))
    for command in ("train", "plan"):
        huge_pages.ask_for(command)
        monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert len(started) == cpu
