import pytest

from flan_jax.errors import UserError
from flan_jax.inference.generation import GenerationConfig


def test_settings_that_do_not_go_together_are_refused():
    for generation, said in (
        (GenerationConfig(0), "max_new_tokens is 0"),
        (GenerationConfig(3, num_beams=0), "num_beams is 0"),
        (GenerationConfig(3, temperature=-1.0), "temperature is -1"),
        (GenerationConfig(3, num_beams=2, temperature=1.0), "set num_beams to 1"),
    ):
        with pytest.raises(UserError, match=said):
            generation.check()
