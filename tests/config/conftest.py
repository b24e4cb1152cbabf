"""A caller's own folder, for every test of the configuration."""

import sys

import pytest


@pytest.fixture(autouse=True)
def caller(tmp_path, monkeypatch):
    """An empty folder to stand in, with `sys.path` put back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path
