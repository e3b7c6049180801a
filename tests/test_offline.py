"""Nothing leaves the machine: a whole session in a process where every socket call is an error."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import gemlet

SESSION = """
import sys
def guard(event, args):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        raise RuntimeError(f"network: {event} {args}")
sys.addaudithook(guard)
path = sys.argv[1]
import gemlet
with gemlet.load(path, context=128) as m:
    m.generate("One, two,", max_tokens=2)
    m.embed(["a"]); m.score("a", ["b"]); m.perplexity("a b c"); m.hidden("a"); m.logits("a"); repr(m)
from gemlet import cli
assert cli.main(["run", path, "One, two,", "-n", "2", "-c", "64"]) == 0
assert cli.main(["doctor", "--no-measure"]) == 0
assert cli.main(["show", path]) == 0
assert cli.main(["tokenize", path, "a"]) == 0
assert cli.main(["list"]) == 0
try:
    import socket
    socket.socket()
except RuntimeError as error:
    print("guarded:", error)
"""


def test_only_what_pull_uses_knows_a_network():
    package = Path(gemlet.__file__).parent
    words = re.compile(r"huggingface_hub|\b(socket|http|urllib|requests|httpx|ssl)\b")
    code = {path: re.sub(r'"""(?s:.)*?"""|#.*', "", path.read_text(encoding="utf-8")) for path in package.rglob("*.py")}
    users = {str(path.relative_to(package)) for path, text in code.items() if words.search(text)}
    assert users == {"hub/pull.py", "hub/transfer.py", "doctor.py"}  # doctor looks whether the extra is there


def test_a_session_without_sockets(demo_path):
    done = subprocess.run([sys.executable, "-c", SESSION, demo_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "guarded: network: socket.__new__" in done.stdout
