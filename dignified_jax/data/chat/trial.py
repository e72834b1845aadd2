"""A first rendering of a chat template in a process of its own, bounded in time and memory.

A template is a program of whoever published the model: `'a' * 10**10` or three nested loops would
take the memory, or the days, of the run.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from dignified_jax.data.chat import rendering

CPU_SECONDS = 5
MEMORY_BYTES = 2**30


def try_out(
    source: str, variables: Mapping[str, Any], conversations: Sequence[Sequence[Mapping[str, str]]]
) -> None:
    """Renders conversations where a template without end can do no harm.

    Args:
      source: the template, in Jinja.
      variables: what it sees besides messages, such as bos_token.
      conversations: lists of turns; one that ends in a user's turn is rendered up to the reply.

    Raises:
      rendering.TemplateFault: it takes more than 5 CPU seconds, 1 GiB of memory or 16 million
        characters. Other errors are left to the rendering that follows.
    """
    given = {"source": source, "variables": variables, "conversations": conversations}
    _try_once(json.dumps(given, default=str))


@functools.lru_cache(maxsize=64)
def _try_once(given: str) -> None:
    homes = sorted({str(Path(module.__file__).parents[1]) for module in (jinja2, markupsafe)})
    start = (
        f"import runpy, sys; sys.path += {homes!r}; "
        f"sys.argv = ['', '{CPU_SECONDS}', '{MEMORY_BYTES}']; "
        f"runpy.run_path({rendering.__file__!r}, run_name='__main__')"
    )
    # Isolated: no site hooks, and nothing of this process's environment.
    command = [sys.executable, "-I", "-c", start]
    environment = {"PATH": os.environ.get("PATH", "")}
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode == 0:
        return
    last = (done.stderr.strip().splitlines() or [""])[-1]
    if done.returncode == rendering.TOO_LONG:
        fault = f"prints more than {rendering.MOST_CHARACTERS} characters"
    elif done.returncode < 0:  # by SIGXCPU, or the kernel for want of memory
        fault = f"takes more than {CPU_SECONDS} CPU seconds or {MEMORY_BYTES // 2**20} MiB"
    elif last.startswith(("MemoryError", "OverflowError")):
        fault = f"takes more than {MEMORY_BYTES // 2**20} MiB of memory"
    else:
        raise RuntimeError(f"a chat template could not be tried out: {last}")
    raise rendering.TemplateFault(f"{fault} for a conversation of two words")
