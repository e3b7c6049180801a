"""Runs notebooks from top to bottom in a fresh kernel each; fails on any error, and on any cell that never ran.

Leaves the files as they are: what a reader sees in the repository is written by `--write`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError


def run(path: Path, seconds: int, write: bool) -> str | None:
    """Runs one notebook in its own folder; returns what went wrong."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=seconds, kernel_name="python3", resources=resources)
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return str(error)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if not code:
        return "no code cell: nothing was run"
    if idle := [cell.source for cell in code if cell.execution_count is None]:
        return f"{len(idle)} cell(s) never ran, the first is: {idle[0]}"
    if write:
        nbformat.write(notebook, path)
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: all in notebooks/)")
    parser.add_argument("--timeout", type=int, default=300, help="seconds a cell may take")
    parser.add_argument("--write", action="store_true", help="keep the outputs in the file")
    args = parser.parse_args()
    paths = args.paths or sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
    if not paths:
        print("run_notebooks: no notebooks found")
        return 1
    failed = 0
    for path in paths:
        started = time.monotonic()
        error = run(path, args.timeout, args.write)
        print(f"{path.name}: {'ok' if error is None else 'FAILED'} in {time.monotonic() - started:.1f} s", flush=True)
        if error is not None:
            failed += 1
            print(error)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
