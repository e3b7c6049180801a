"""Nothing leaves the machine: a whole session in a process where every socket call is an error."""

from __future__ import annotations

import subprocess
import sys

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
try:
    import socket
    socket.socket()
except RuntimeError as error:
    print("guarded:", error)
"""


def test_a_session_without_sockets(demo_path):
    done = subprocess.run([sys.executable, "-c", SESSION, demo_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "guarded: network: socket.__new__" in done.stdout
