import errno
import os

import pytest

from flan_jax.errors import UserError
from flan_jax.training.disk import full_disk_named


def test_a_really_full_device_is_told():
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    with pytest.raises(UserError, match="The disk that holds runs/a is full: free some space on it"):  # noqa: SIM117
        with full_disk_named("runs/a"), open("/dev/full", "w") as file:
            file.write("x")
            file.flush()


def test_a_cause_further_down_is_found():
    with pytest.raises(UserError, match="runs/a is full"), full_disk_named("runs/a"):
        try:
            raise OSError(errno.EDQUOT, "over quota")
        except OSError as error:
            raise RuntimeError("could not save") from error


def test_other_errors_pass():
    for error in (
        OSError(errno.EACCES, "denied"),
        ValueError("No space between words"),
        UserError("No space left on device"),
    ):
        with pytest.raises(type(error)) as seen, full_disk_named("runs/a"):
            raise error
        assert seen.value is error
