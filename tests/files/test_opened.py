"""The notes of files that user code opens; what follows from them is in test_freshness.py."""

import os

from flan_jax.files import opened


def test_forks_write_into_the_same_notes_without_tearing_them():
    log, forks, lines = opened._Log(), 4, 1500
    for fork in range(forks):
        if os.fork() == 0:
            for number in range(lines):
                log.hook("open", (f"/home/{'x' * (number % 90)}/{fork}-{number}", "w", 0))
            os._exit(0)
    for _ in range(forks):
        assert os.wait()[1] == 0
    names = {os.path.basename(path) for path, writes, state in log.lines() if writes and state is None}
    assert names == {f"{fork}-{number}" for fork in range(forks) for number in range(lines)}
