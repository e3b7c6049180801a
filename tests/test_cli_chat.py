"""`gemlet chat` as it is used: at a terminal (a real pty), and with turns from a pipe."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat_model import write_model
from gemlet.cli import main
from test_cli import gemlet, ok

QUICK = ("-n", "4", "--temperature", "0", "-c", "512")
PROMPT = r">>> (\x1b\[0m)?(\x02)?$"


class Terminal:
    """A process on a pseudo-terminal, typed at and read until a pattern appears."""

    def __init__(self, *words: str, **environment: str) -> None:
        master, slave = pty.openpty()
        unset = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "gemlet", "chat", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: _own_terminal(slave),
            env={**unset, "TERM": "xterm", "COLUMNS": "200", **environment},
        )
        os.close(slave)
        self._master = master
        self.shown = ""

    def expect(self, pattern: str, timeout: float = 60) -> str:
        """What was shown up to and with the pattern; it is then taken away."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.shown)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not appear in {self.shown!r}"
            if select.select([self._master], [], [], min(left, 0.5))[0]:
                self.shown += self._read()
        seen, self.shown = self.shown[: found.end()], self.shown[found.end() :]
        return seen

    def _read(self) -> str:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other end is closed
            data = b""
        assert data, f"it ended after {self.shown!r}"
        return data.decode("utf-8", "replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def say(self, line: str, then: str = PROMPT) -> str:
        self.type(line + "\n")
        return self.expect(then)

    def end(self) -> int:
        try:
            while True:
                self.shown += self._read()
        except AssertionError:
            pass
        return self._process.wait(timeout=60)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._master)


def _own_terminal(slave: int) -> None:
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@pytest.fixture
def terminal(demo_path: str, tmp_path: Path) -> Iterator[Terminal]:
    made = Terminal(demo_path, *QUICK, XDG_STATE_HOME=str(tmp_path))
    made.expect(PROMPT)
    yield made
    made.kill()


def test_talking(terminal, tmp_path):
    shown = terminal.say("Hello")
    assert "has no chat template" in shown  # once
    assert re.search(r"4 tokens at [\d.]+ tok/s \(length\), prompt \d+ (\(\d+ of them kept\) )?at \d+ tok/s", shown)
    assert "has no chat template" not in terminal.say("And now?")
    assert "/retry" in terminal.say("/help")
    assert "did you mean /retry?" in terminal.say("/retri")
    assert "system: Be brief." in terminal.say("/system Be brief.")
    assert "system: none" in terminal.say("/system -")
    assert "thinking needs a Gemma 4" in terminal.say("/think on")
    assert "temperature: 0.5" in terminal.say("/set temperature 0.5")
    assert "temperature must be a number" in terminal.say("/set temperature hot")
    assert "temperature must be a finite number in [0, inf)" in terminal.say("/set temperature -1")
    assert "temperature: the model's default" in terminal.say("/set temperature -")
    assert "max_tokens: 4" in terminal.say("/set")
    assert "/set knows" in terminal.say("/set colour red")
    saved = tmp_path / "talk.json"
    assert "4 messages" in terminal.say(f"/save {saved}")
    roles = [message["role"] for message in json.loads(saved.read_text())["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert "4 tokens" in terminal.say("/retry")
    assert "forgotten: And now?" in terminal.say("/undo")
    assert "forgotten" in terminal.say("/clear")
    assert "there is no message yet" in terminal.say("/retry")
    assert "loaded" in terminal.say(f"/load {saved}")
    assert "no saved conversation" in terminal.say(f"/load {__file__}")
    assert "No such file" in terminal.say("/load nowhere.json")
    terminal.say("//not a command")
    terminal.say(f"/save {saved}")
    assert json.loads(saved.read_text())["messages"][4]["content"] == "/not a command"
    terminal.type("/exit\n")
    assert terminal.end() == 0
    history = tmp_path / "gemlet" / "chat_history"
    assert "And now?" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_several_lines_and_ctrl_d(terminal, tmp_path):
    terminal.say('"""one', r"\.\.\. (\x1b\[0m)?\x02?$")
    terminal.say("two", r"\.\.\. (\x1b\[0m)?\x02?$")
    terminal.say('three"""')
    terminal.say("four \\", r"\.\.\. (\x1b\[0m)?\x02?$")
    terminal.say("five")
    saved = tmp_path / "talk.json"
    terminal.say(f"/save {saved}")
    texts = [m["content"] for m in json.loads(saved.read_text())["messages"] if m["role"] == "user"]
    assert texts == ["one\ntwo\nthree", "four \nfive"]
    terminal.type("\x04")
    assert terminal.end() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(demo_path, tmp_path):
    terminal = Terminal(demo_path, "-c", "2048", "--no-history", "--seed", "3", XDG_STATE_HOME=str(tmp_path))
    try:
        terminal.expect(PROMPT)
        terminal.type("half a li")
        time.sleep(0.1)
        terminal.type("\x03")
        assert "/exit leaves" in terminal.expect(PROMPT)
        terminal.say("/set temperature 0")
        terminal.type("Once upon a time\n")
        time.sleep(0.7)  # loaded already: the answer has begun
        terminal.type("\x03")
        assert "(cancelled)" in terminal.expect(PROMPT)
        assert "forgotten: Once upon a time" in terminal.say("/undo")
        terminal.type("\x04")
        assert terminal.end() == 0
    finally:
        terminal.kill()
    assert not (tmp_path / "gemlet").exists()


def test_colour_is_for_terminals_that_want_it(demo_path):
    for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal(demo_path, "-c", "512", "--no-history", **environment)
        try:
            assert ("\x1b[1;36m" in terminal.expect(PROMPT)) is coloured
        finally:
            terminal.kill()


def test_each_piped_line_is_a_turn(demo_path, tmp_path):
    saved = tmp_path / "talk.json"
    lines = f'One, two,\n"""a\nb"""\n\n/system x\n/save {saved}\nlast'
    done = ok("chat", demo_path, *QUICK, "-q", stdin=lines)
    assert "\x1b" not in done.stdout
    assert ">>>" not in done.stdout
    messages = json.loads(saved.read_text())["messages"]
    assert [m["content"] for m in messages if m["role"] != "assistant"] == ["x", "One, two,", "a\nb"]
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    assert done.stdout.startswith("".join(answer + "\n" for answer in answers))
    again = ok("chat", demo_path, *QUICK, "-q", "--load", str(saved), "--json", stdin="/retry\n")
    assert json.loads(again.stdout)["text"]


def test_a_gemma_4_may_think(tmp_path):
    path = str(write_model(tmp_path / "tiny.gguf"))
    done = ok("chat", path, "--think", "-n", "6", "--seed", "1", "--json", stdin="Hi\n/think off\nHo\n")
    thinking, plain = map(json.loads, done.stdout.splitlines())
    assert thinking["usage"]["prompt_tokens"] > 0 < plain["usage"]["prompt_tokens"]
    assert "thinking: off" in done.stderr


def test_json_is_one_object_a_turn(demo_path):
    done = gemlet("chat", demo_path, *QUICK, "--json", "--system", "Be brief.", stdin="Hello\n/no\nMore\n")
    first, wrong, second = map(json.loads, done.stdout.splitlines())
    assert {"model", "text", "thinking", "tool_calls", "finish_reason", "usage", "timings"} <= set(first)
    assert second["usage"]["prompt_tokens"] > first["usage"]["prompt_tokens"] > 10
    assert wrong["error"]["type"] == "ValueError"
    assert "no command '/no'" in wrong["error"]["message"]
    assert done.returncode == 1


def test_an_error_of_one_turn_ends_nothing(demo_path):
    done = gemlet("chat", demo_path, "-n", "4", "-c", "64", "-q", stdin="word " * 100 + "\nHello\n")
    assert done.returncode == 1
    assert "the last turn alone has" in done.stderr
    assert done.stdout.count("\n") >= 1
    raw = subprocess.run(
        [sys.executable, "-m", "gemlet", "chat", demo_path, *QUICK], input=b"\xff\n", capture_output=True
    )
    assert raw.returncode == 1
    assert b"not UTF-8" in raw.stderr


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["chat"], 2, "required: MODEL"),
        (["chat", "no-such-file"], 1, "no file"),
        (["chat", "no-such-file", "--temperature", "-1"], 2, "temperature must be"),
        (["chat", "no-such-file", "--temprature", "1"], 2, "did you mean --temperature?"),
    ],
)
def test_wrong_words(words, code, message, capsys):
    assert main(words) == code
    assert message in capsys.readouterr().err


def test_what_a_model_writes_does_not_steer_the_terminal(capsys, monkeypatch):
    from gemlet.cli.chat_output import Show

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    show = Show(False)
    show.add("thinking", "a\x1b[2J\r")
    show.add("text", "b\x07\tc\x9b")
    show.end()
    assert capsys.readouterr().out == "a[2J\n\nb\tc\n"


def test_thinking_is_refused_at_once_where_there_is_none(demo_path, capsys):
    assert main(["chat", demo_path, "--think"]) == 2
    assert "thinking needs a Gemma 4" in capsys.readouterr().err


def test_interrupting_a_pipe_ends_it(demo_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "gemlet", "chat", demo_path, "-n", "900", "--seed", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"Once upon a time\n")
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
