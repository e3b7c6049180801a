"""The command as a user runs it: a process, its two outputs and its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemlet.cli import VERBS, main


def gemlet(*words: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gemlet", *words],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
        timeout=120,
    )


def ok(*words: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    done = gemlet(*words, stdin=stdin, **environment)
    assert done.returncode == 0, done.stderr
    return done


def test_overview_and_version(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in VERBS)
    assert main(["--version"]) == 0
    assert re.fullmatch(r"gemlet \d+\.\d+\.\d+\n", capsys.readouterr().out)
    assert main([]) == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_has_json(verb, capsys):
    assert main([verb, "--help"]) == 0
    shown = capsys.readouterr().out
    assert "--json" in shown
    assert "exit codes" in shown


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["runn"], 2, "no command 'runn'; did you mean 'run'?"),
        (["run"], 2, "required: MODEL"),
        (["run", "demo", "x", "--temprature", "1"], 2, "did you mean --temperature?"),
        (["run", "demo", "x", "-n", "many"], 2, "invalid int value: 'many'"),
        (["run", "no-such-file", "x"], 1, "no file 'no-such-file'"),
        (["run", "no-such-file", "x", "-t", "0"], 2, "threads must be an int from 1"),
        (["run", "demo", "x", "--logprobs", "1"], 2, "needs --json"),
        (["show", "no-such-file"], 1, "no file"),
        (["show", __file__], 1, "test_cli.py"),
        (["perplexity", "demo", "no-such-text"], 1, "no-such-text: No such file"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(words, code, message, capsys):
    assert main(words) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("gemlet: ")
    assert said.err.count("\n") == 1
    assert message in said.err
    if words[0] in VERBS and "needs --json" not in message:
        assert main([*words, "--json"]) == code
        said = capsys.readouterr()
        assert message in json.loads(said.out)["error"]["message"]
        assert message in said.err


def test_run_streams_text_to_stdout_and_talk_to_stderr(demo_path):
    done = ok("run", demo_path, "One, two, three, four,", "-n", "4", "--temperature", "0")
    assert done.stdout == " five, six,\n"
    assert re.fullmatch(
        r"gemlet: 4 tokens at [\d.]+ tok/s \(length\), prompt \d+ at \d+ tok/s, seed \d+\n", done.stderr
    )
    assert ok("run", demo_path, "One, two,", "-n", "1", "-q", "--temperature", "0").stderr == ""


def test_run_as_json(demo_path):
    words = ("run", demo_path, "One, two, three, four,", "-n", "4", "--seed", "7", "--logprobs", "2", "--json")
    done = ok(*words)
    answer = json.loads(done.stdout)
    assert done.stderr == ""
    assert answer["seed"] == 7
    assert len(answer["token_ids"]) == len(answer["logprobs"]) == 4
    assert answer["usage"]["completion_tokens"] == 4
    assert {"text", "finish_reason", "timings", "warnings", "model"} <= set(answer)
    again = json.loads(ok(*words).stdout)
    assert again["text"] == answer["text"]


def test_run_reads_its_prompt_from_a_pipe(demo_path):
    options = ("-n", "4", "--temperature", "0", "-q")
    for words in ((), ("-",)):
        assert ok("run", demo_path, *words, *options, stdin="One, two, three, four,\n").stdout == " five, six,\n"
    raw = subprocess.run([sys.executable, "-m", "gemlet", "run", demo_path], input=b"\xff", capture_output=True)
    assert raw.returncode == 2
    assert b"not UTF-8" in raw.stderr


def test_run_stops_and_warns(demo_path):
    done = ok("run", demo_path, "One, two, three, four,", "--stop", " seven", "--temperature", "0")
    assert done.stdout == " five, six,\n"
    assert "(stop)" in done.stderr
    done = ok("run", demo_path, "word " * 100, "-c", "64", "-n", "2", "--overflow", "truncate")
    assert "gemlet: warning: the prompt had 102 tokens" in done.stderr
    done = gemlet("run", demo_path, "word " * 100, "-c", "64")
    assert done.returncode == 1
    assert "overflow='truncate'" in done.stderr


def test_ctrl_c_is_130(demo_path):
    command = [sys.executable, "-m", "gemlet", "run", demo_path, "Once", "-n", "5000", "--ignore-eos", "-c", "6000"]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert running.stdout.read(1)  # it has begun to speak
    running.send_signal(signal.SIGINT)
    began = time.perf_counter()
    _, said = running.communicate(timeout=20)
    assert time.perf_counter() - began < 5
    assert running.returncode == 130
    assert "Traceback" not in said


def test_a_reader_that_leaves_is_not_an_error(demo_path):
    command = (
        f"{sys.executable} -m gemlet run {demo_path} Once -n 400 --ignore-eos | head -c 1; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("0\n")
    assert "Traceback" not in done.stderr


def test_show(demo_path):
    shown = ok("show", demo_path).stdout
    assert "gemma3.block_count" in shown
    assert "Q5_0" in shown
    assert "\x1b" not in shown
    facts = json.loads(ok("show", demo_path, "--json", "--tensors").stdout)
    assert facts["metadata"]["general.architecture"] == "gemma3"
    assert facts["file_bytes"] == os.path.getsize(demo_path)
    assert sum(entry["bytes"] for entry in facts["types"]) == facts["tensor_bytes"]
    assert sum(entry["tensors"] for entry in facts["types"]) == len(facts["tensors"]) == 236
    (embedding,) = (entry for entry in facts["tensors"] if entry["name"] == "token_embd.weight")
    assert (embedding["type"], embedding["shape"]) == ("Q8_0", [262144, 640])


def test_tokenize(demo_path, m):
    facts = json.loads(ok("tokenize", demo_path, "Hello world", "--json").stdout)
    assert facts == {"count": 3, "ids": [2, 9259, 1902], "pieces": ["<bos>", "Hello", " world"]}
    assert ok("tokenize", demo_path, "--ids", "--no-bos", stdin="Hello world").stdout == "9259 1902\n"
    special = json.loads(ok("tokenize", demo_path, "<end_of_turn>", "--special", "--no-bos", "--json").stdout)
    assert special["pieces"] == ["<end_of_turn>"]
    assert "9259" in ok("tokenize", demo_path, "Hello world").stdout


def test_perplexity(demo_path, m, tmp_path):
    text = "The quick brown fox jumps over the lazy dog. " * 8
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    facts = json.loads(ok("perplexity", demo_path, str(tmp_path / "text.txt"), "--window", "32", "--json").stdout)
    expected = m.perplexity(text, window=32)
    assert facts["perplexity"] == pytest.approx(expected.perplexity, rel=1e-6)
    assert (facts["tokens"], facts["window"], facts["stride"]) == (expected.tokens, 32, 16)
    assert ok("perplexity", demo_path, "-", stdin=text).stdout.startswith("perplexity ")


def test_doctor():
    facts = json.loads(ok("doctor", "--json", GEMLET_THREADS="1").stdout)
    assert facts["threads"]["chosen"] == 1
    assert facts["threads"]["why"] == "GEMLET_THREADS=1"
    assert facts["cpu"]
    assert facts["isa"]["chosen"] in facts["isa"]["available"]
    assert facts["limits"]["read_gb_s"] > 0
    assert facts["limits"]["int8_gops"] > 0
    assert facts["extras"]["test"]["installed"] is True
    shown = ok("doctor", "--no-measure").stdout
    assert "threads" in shown
    assert "pip install" in shown or "missing" not in shown


def test_bench_has_exactly_the_promised_shape(demo_path):
    words = ("bench", demo_path, "-p", "32", "-n", "8", "-t", "1", "-r", "1")
    facts = json.loads(ok(*words, "--json").stdout)
    assert set(facts) == {"model", "isa", "threads", "load_s", "prefill", "decode", "limits", "memory"}
    for part, tokens in (("prefill", 32), ("decode", 8)):
        assert set(facts[part]) == {"tokens", "tok_s", "limit_fraction"}
        assert facts[part]["tokens"] == tokens
        assert facts[part]["tok_s"] > 0
        assert 0 < facts[part]["limit_fraction"] < 1.5
    assert set(facts["limits"]) == {"read_gb_s", "int8_gops"}
    assert set(facts["memory"]) == {"peak_rss_mib", "anon_mib", "file_mib"}
    assert facts["threads"] == 1
    shown = ok(*words).stdout
    assert "prefill" in shown
    assert "% of" in shown


def test_bench_profiles_by_operation(demo_path):
    words = ("bench", demo_path, "-p", "16", "-n", "4", "-t", "1", "-r", "1", "--profile")
    facts = json.loads(ok(*words, "--json").stdout)["profile"]
    assert [(phase, facts[phase]["tokens"], facts[phase]["steps"]) for phase in facts] == [
        ("prefill", 16, 1),
        ("decode", 3, 3),
    ]
    for found in facts.values():
        names = {part["name"] for part in found["operations"]}
        assert {"embedding", "qkv", "attention", "output", "gate/up", "down", "head", "norms", "sampling"} <= names
        seconds = [part["seconds"] for part in found["operations"]]
        assert seconds == sorted(seconds, reverse=True)
    shown = ok(*words).stdout
    assert re.search(r"^decode  3 tokens in 3 steps", shown, re.MULTILINE)
    assert re.search(r"^gate/up +54 .*% (read|int8)$", shown, re.MULTILINE)


def test_run_keeps_to_a_schema_a_regex_a_grammar_and_choices(tmp_path, capsys):
    pytest.importorskip("llguidance")
    tiny = str(Path(__file__).parent / "golden" / "gemma3_tiny.gguf")
    schema = '{"type": "array", "items": {"type": "boolean"}, "maxItems": 2}'
    (tmp_path / "schema.json").write_text(schema, encoding="utf-8")
    (tmp_path / "grammar.lark").write_text('start: "x"~3', encoding="utf-8")
    for words, fits in [
        (["--schema", schema], r"\[((true|false)(,(true|false))?)?\]"),
        (["--schema", str(tmp_path / "schema.json")], r"\[((true|false)(,(true|false))?)?\]"),
        (["--regex", "[ab]{3}"], "[ab]{3}"),
        (["--grammar", str(tmp_path / "grammar.lark")], "xxx"),
        (["--choices", "one", "--choices", "two"], "one|two"),
    ]:
        assert main(["run", tiny, "hello", "-q", *words]) == 0
        assert re.fullmatch(fits, capsys.readouterr().out.rstrip("\n"))
    assert main(["run", tiny, "hello", "--json", "--schema", '{"not": {}}']) == 1
    assert json.loads(capsys.readouterr().out)["error"]["type"] == "SchemaError"
