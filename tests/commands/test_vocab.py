"""`flan-jax vocab`: what it writes over, and what it leaves alone."""

import pytest

from tests.project import check_refused


@pytest.mark.usefixtures("warm")
def test_an_older_vocabulary_is_written_over_and_nothing_else_is(project, tmp_path):
    output = tmp_path / "pieces.model"
    argv = ["vocab", "--gin_file", "run.gin", "--mixture", "capitals", "--output", output, "--size"]
    made = []
    for size in (300, 310):
        done = project(*argv, size)
        assert done.code == 0, done.err
        made.append(output.read_bytes())
    assert made[0] != made[1]
    for there in (b'{"prompt": "a", "completion": "b"}\n' * 20, made[0][:100], bytes(500)):
        output.write_bytes(there)
        check_refused(project(*argv, 300), "pieces.model', a file that holds no vocabulary and is left as it is")
        assert output.read_bytes() == there
