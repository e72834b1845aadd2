"""Review preference rows by people: a web application over one SQLite file.

Without a command the review is served. Everything is in the file DB, which `init` makes; commands
may run while it is served.

example, on rows that ship with the package:
  python -m dignified_jax.review review.db init embedded:personaknob_mini/test.jsonl
  python -m dignified_jax.review review.db invite ada --role admin
  python -m dignified_jax.review review.db invite grace
  python -m dignified_jax.review review.db assign
  python -m dignified_jax.review review.db
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dignified_jax.console import entry
from dignified_jax.console.safe_stream import SafeStream

_EXTRA = ("argon2", "fastapi", "sqlalchemy", "sqlmodel", "uvicorn")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status, 1 where data, arguments or packages are bad."""
    try:
        from dignified_jax.review.commands import run
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        why = f"the review needs {error.name}: pip install 'dignified_jax[review]'"
        print(f"error: {why}", file=SafeStream(sys.stderr))
        return 1
    return run(__doc__, argv)


if __name__ == "__main__":
    entry.run(main, without_torch=True)
