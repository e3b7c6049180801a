"""`python -m gemlet` is the `gemlet` command."""

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
