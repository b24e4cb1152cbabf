"""Gin files are found by their names."""

from tests.config.caller import resolved, write


def test_a_gin_file_is_found_beside_the_caller_before_the_packaged_one():
    assert resolved("train", "--gin_file=quickstart").mixture == "starter"
    write("quickstart.gin", 'MIXTURE = "mine"\nSTEPS = 1\n')
    assert resolved("train", "--gin_file=quickstart.gin").mixture == "mine"
    write("deep/base.gin", "BATCH_SIZE = 5\n")
    write("deep/run.gin", 'include "base.gin"\nMIXTURE = "deep"\nSTEPS = 1\n')
    run = resolved("train", "--gin_file=deep/run.gin")
    assert (run.mixture, run.batch_size, run.run_dir) == ("deep", 5, "runs/run")
