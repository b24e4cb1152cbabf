"""`generate`: one prompt, a file of prompts, given targets, and whoever types."""

import io
import json

import jax
import numpy as np
import pytest
from flax import nnx

from flan_jax.config.kept import load_run
from flan_jax.inference.loading import load_model
from tests.project import check_refused, write_rows

PROMPTS = [f"Is {i} odd or even?" for i in range(25)]


@pytest.fixture(scope="module")
def ask(project, trained):
    """Runs `generate` on the trained run; five tokens are enough to tell answers apart."""
    return lambda *argv: project("generate", "--run_dir", trained, "--max_new_tokens", 5, *argv)


@pytest.fixture(scope="module")
def model(trained):
    """The trained model's plain forward pass, and its vocabulary."""
    found, codec, step = load_model(load_run(trained), None)
    assert step == 30
    forward = jax.jit(lambda params, batch: nnx.merge(found.graph, params)(batch))
    return lambda batch: forward(found.params, batch), codec


def batch(pairs):
    """Prompts and targets as a training batch of one example a row, built anew here."""
    arrays = {name: np.zeros((len(pairs), 64), np.int32) for name in ("tokens", "segments", "positions")}
    targets = {name: np.zeros((len(pairs), 32), np.int32) for name in ("inputs", "tokens", "segments", "positions")}
    for row, (prompt, answer) in enumerate(pairs):
        arrays["tokens"][row, : len(prompt)] = prompt
        arrays["segments"][row, : len(prompt)] = 1
        arrays["positions"][row, : len(prompt)] = range(len(prompt))
        targets["tokens"][row, : len(answer)] = answer
        targets["inputs"][row, 1 : len(answer)] = answer[:-1]
        targets["segments"][row, : len(answer)] = 1
        targets["positions"][row, : len(answer)] = range(len(answer))
    return {
        "encoder_input_tokens": arrays["tokens"],
        "encoder_segment_ids": arrays["segments"],
        "encoder_positions": arrays["positions"],
        "decoder_input_tokens": targets["inputs"],
        "decoder_target_tokens": targets["tokens"],
        "decoder_segment_ids": targets["segments"],
        "decoder_positions": targets["positions"],
    }


def test_a_prompt_is_answered_greedily(ask, model):
    """Against the argmax of the model's own logits, one token after another, without a cache."""
    network, codec = model
    told = ask("--prompt", PROMPTS[3])
    assert told.code == 0 and told.err == ""
    answer: list[int] = []
    while len(answer) < 5 and 1 not in answer:
        logits = network(batch([(codec.encode(PROMPTS[3]), [*answer, 0])]))
        answer.append(int(np.argmax(logits[0, len(answer)])))
    assert told.out == codec.decode(answer) + "\n"


def test_sampling_follows_the_seed(ask):
    hot = ["--prompt", PROMPTS[0], "--temperature", 2.0]
    first, again, other = ask(*hot, "--seed", 1), ask(*hot, "--seed", 1), ask(*hot, "--seed", 2)
    assert first.code == 0 and first.out == again.out != other.out


@pytest.fixture(scope="module")
def told_of(ask, tmp_path_factory):
    """The rows that `generate` makes of the prompts."""
    folder = tmp_path_factory.mktemp("sampled")
    path = write_rows(folder / "questions.jsonl", [{"inputs": text} for text in PROMPTS])

    def told(*argv):
        output = folder / "answers.jsonl"
        output.unlink(missing_ok=True)
        done = ask("--prompts", path, "--output", output, "--scores", *argv)
        assert done.code == 0, done.err
        return [json.loads(line) for line in output.read_text().splitlines()]

    return told


def test_temperature_top_k_and_top_p_narrow_what_is_drawn(told_of):
    """Each narrowed to the likeliest token gives the greedy answers; wide open, hardly any of them."""
    texts = lambda *argv: [row["prediction"] for row in told_of(*argv)]
    greedy = texts()
    wide = texts("--temperature", 3.0)
    assert sum(one == other for one, other in zip(wide, greedy, strict=True)) < 5
    assert texts("--temperature", 3.0, "--top_k", 1) == greedy
    assert texts("--temperature", 3.0, "--top_p", 1e-6) == greedy
    assert texts("--temperature", 1e-4) == greedy
    # Divided by 100, logits are all but equal: the drawn tokens are as likely as any of the vocabulary.
    likely = lambda temperature: np.mean([row["token_scores"][0] for row in told_of("--temperature", temperature)])
    assert likely(100.0) < likely(1.0) - 1


def test_a_search_favours_long_or_short_answers_as_the_length_penalty_says(told_of):
    count = {}
    for penalty in (-2.0, 0.5, 3.0):
        rows = told_of("--num_beams", 4, "--length_penalty", penalty)
        for row in rows:
            tokens = row["token_scores"]
            assert row["score"] == pytest.approx(sum(tokens) / len(tokens) ** penalty, rel=1e-3)
        count[penalty] = sum(len(row["token_scores"]) for row in rows)
    assert count[-2.0] < count[3.0]


@pytest.fixture(scope="module")
def answered(ask, tmp_path_factory):
    """A file of prompts and its answers."""
    path = write_rows(
        tmp_path_factory.mktemp("prompts") / "questions.jsonl",
        [{"inputs": text, "number": i} for i, text in enumerate(PROMPTS)],
    )
    done = ask("--prompts", path)
    assert done.code == 0, done.err
    return path, path.with_name("questions.answers.jsonl")


def test_a_file_of_prompts_becomes_a_file_of_answers(ask, answered):
    path, output = answered
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["number"] for row in rows] == list(range(25))
    assert rows[3]["prediction"] + "\n" == ask("--prompt", PROMPTS[3]).out


@pytest.mark.parametrize("share", [0.5, 0.97])
def test_a_torn_file_of_answers_is_finished_alike(ask, answered, tmp_path, share):
    path, output = answered
    whole = output.read_bytes()
    torn = tmp_path / "torn.jsonl"
    lines = whole.splitlines(keepends=True)
    kept = int(len(lines) * share)
    torn.write_bytes(b"".join(lines[:kept]) + lines[kept][: len(lines[kept]) // 2])
    assert ask("--prompts", path, "--output", torn).code == 0
    assert torn.read_bytes() == whole
    modified = torn.stat().st_mtime_ns
    assert ask("--prompts", path, "--output", torn).code == 0  # nothing is left to do
    assert torn.read_bytes() == whole and torn.stat().st_mtime_ns == modified


@pytest.mark.parametrize(
    ("there", "told"),
    [
        (b"Dear diary,\nthis has no end", ":1 holds no prediction"),
        (b"PK\x03\x04 all of it", ":1 holds no prediction"),
        (b'{"step": 30}', ":1 holds no prediction"),
        (b'{"inputs": "another", "prediction": "odd"}\n', ":1 holds no prediction"),
        (b"[" * 100_000 + b"\n", ":1 holds no prediction"),
    ],
)
def test_a_file_that_holds_something_else_stays_as_it_is(ask, answered, tmp_path, there, told):
    output = tmp_path / "kept.txt"
    output.write_bytes(there)
    check_refused(ask("--prompts", answered[0], "--output", output), f"kept.txt{told}", "give another --output")
    assert output.read_bytes() == there


def test_answers_without_their_scores_are_no_answers_with_them(ask, answered):
    path, output = answered
    whole = output.read_bytes()
    check_refused(ask("--prompts", path, "--scores"), ":1 holds no prediction and score of that prompt")
    (output.parent / "all.jsonl").write_bytes(whole + b'{"inputs"')
    check_refused(ask("--prompts", path, "--output", output.parent / "all.jsonl"), "all.jsonl:26 holds no prediction")
    assert output.read_bytes() == whole


def test_scores_are_the_log_probabilities_of_the_targets(project, trained, model, tmp_path):
    network, codec = model
    wanted = ["odd", "even", "Town 12", "something longer", ""]
    pairs = list(zip(PROMPTS, wanted, strict=False))
    path = write_rows(tmp_path / "given.jsonl", [{"inputs": q, "targets": a} for q, a in pairs])
    done = project("generate", "--run_dir", trained, "--prompts", path, "--score")
    assert done.code == 0, done.err
    found = [
        json.loads(line)["log_probability"] for line in (tmp_path / "given.answers.jsonl").read_text().splitlines()
    ]
    ids = [(codec.encode(q), [*codec.encode(a), codec.eos_id]) for q, a in pairs]
    log_probs = jax.nn.log_softmax(network(batch(ids)), axis=-1)
    by_hand = [float(sum(log_probs[b, t, token] for t, token in enumerate(a))) for b, (_, a) in enumerate(ids)]
    assert found == pytest.approx(by_hand, abs=1e-4)


def test_a_stop_ends_the_answer_and_scores_say_how_likely_it_is(ask):
    plain = ask("--prompt", PROMPTS[3], "--scores")
    assert plain.code == 0, plain.err
    text, told = plain.out.rstrip("\n").rsplit("\n", 1)
    score, tokens = (part.split()[1:] for part in told.split(";"))
    assert float(score[0]) == pytest.approx(sum(map(float, tokens)), abs=1e-3) and float(score[0]) < 0
    assert len(text) >= 2, "the answer is too short to be stopped"
    stopped = ask("--prompt", PROMPTS[3], "--stop", text[1:2], "--stop", "no such text", "--scores")
    assert stopped.out.startswith(text[: text.index(text[1:2])] + "\nscore ")
    fewer = stopped.out.rstrip("\n").rsplit(";", 1)[1].split()[1:]
    assert fewer == tokens[: len(fewer)]


def test_beams_find_an_answer_at_least_as_likely(ask, tmp_path):
    path = write_rows(tmp_path / "few.jsonl", [{"inputs": text} for text in PROMPTS[:3]])
    found = {}
    for beams in (1, 3):
        output = tmp_path / f"{beams}.jsonl"
        given = ["--num_beams", beams, "--scores", "--output", output]
        given += ["--length_penalty", 0.0] if beams > 1 else []
        done = ask("--prompts", path, *given)
        assert done.code == 0, done.err
        found[beams] = [json.loads(line)["score"] for line in output.read_text().splitlines()]
    # A search may lose the greedy answer on the way, but not each time.
    assert sum(found[3]) >= sum(found[1]) - 1e-4 and len(found[3]) == 3


def test_whoever_types_is_answered(ask, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PROMPTS[3]}\n\n{'x' * 200}\n{PROMPTS[4]}\n"))
    told = ask()
    assert told.code == 0
    assert told.out == ask("--prompt", PROMPTS[3]).out + ask("--prompt", PROMPTS[4]).out
    # A prompt that is too long is told, and the conversation goes on.
    assert "200 tokens" in told.err and "at most 64" in told.err


def test_faults_are_one_sentence(ask, answered, tmp_path, project, trained):
    path, _ = answered
    check_refused(ask("--prompt", "x" * 65), "65 tokens", "--feature_lengths")
    check_refused(ask("--prompt", "a", "--num_beams", 2, "--temperature", 1.0), "num_beams is 2", "temperature")
    check_refused(ask("--prompt", "a", "--stop", ""), "--stop", "empty")
    check_refused(ask("--prompts", tmp_path / "none.jsonl"), "none.jsonl")
    write_rows(tmp_path / "bad.jsonl", [{"inputs": "a"}, {"question": "b"}])
    check_refused(ask("--prompts", tmp_path / "bad.jsonl"), "bad.jsonl:2", "question", "'inputs'")
    (tmp_path / "cut.jsonl").write_text('{"inputs": "a"}\n{"inp\n')
    check_refused(ask("--prompts", tmp_path / "cut.jsonl"), "cut.jsonl:2", "not JSON")
    (tmp_path / "half.jsonl").write_text('{"inputs": "a"}\n{"inputs": "\\ud800"}\n')
    check_refused(ask("--prompts", tmp_path / "half.jsonl"), "half.jsonl:2", "half of a pair of UTF-16")
    check_refused(ask("--prompts", tmp_path), "is a folder; wanted a JSONL file of prompts")
    (tmp_path / "wide.jsonl").write_text('{"inputs": "a"}', encoding="utf-16")
    check_refused(ask("--prompts", tmp_path / "wide.jsonl"), "wide.jsonl is text in UTF-16, wanted UTF-8")
    (tmp_path / "binary.jsonl").write_bytes(bytes(range(256)))
    check_refused(ask("--prompts", tmp_path / "binary.jsonl"), "binary.jsonl is no text")
    check_refused(ask("--prompts", path, "--output", path), "is the file of prompts itself")
    check_refused(ask("--prompts", path, "--output", tmp_path), "--output", "cannot be written")
    check_refused(
        ask("--prompt", "a", "--score"),
        "--score goes with --prompts",
    )
    scoring = ["generate", "--run_dir", trained, "--prompts", path, "--score"]
    check_refused(project(*scoring), "'targets'")
    check_refused(project(*scoring, "--top_k", 3), "--score writes no answers, so --top_k would do nothing")
    check_refused(ask("--prompt", "a", "--step", 17), "no checkpoint of step 17", "10, 20, 30")
    check_refused(project("generate", "--run_dir", tmp_path / "nowhere", "--prompt", "a"), "no run in")
    write_rows(tmp_path / "short.jsonl", [{"inputs": "a"}])
    write_rows(tmp_path / "short.answers.jsonl", [{"inputs": "a"}, {"inputs": "b"}])
    check_refused(ask("--prompts", tmp_path / "short.jsonl"), "2 answers", "1 prompt;")
