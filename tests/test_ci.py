"""`.ci/run` fails where any of its steps does."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[1]
# Stands for python3 and makes an environment of programs that fail where they are told to.
_PYTHON = """#!/usr/bin/env bash
mkdir -p "$3/bin"
for name in pip python ruff sphinx-build; do
  cat >"$3/bin/$name" <<END
#!/bin/sh
echo $name "\\$@"
case "$name \\$*" in \\$FAILING) exit 1 ;; esac
END
  chmod +x "$3/bin/$name"
done
"""


@pytest.mark.parametrize(
    ("failing", "status", "steps"),
    [
        ("nothing", 0, 6),
        ("pip*test*", 1, 1),
        ("python*pytest*", 1, 2),
        ("ruff*format*", 1, 3),
        ("pip*docs*", 1, 5),
    ],
)
def test_a_step_that_fails_ends_it(tmp_path, failing, status, steps):
    (tmp_path / "python3").write_text(_PYTHON)
    (tmp_path / "python3").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", ROOT / ".ci" / "run"],
        **{"env": {**os.environ, "PATH": path, "FAILING": failing}, "capture_output": True},
    )
    assert (done.returncode, len(done.stdout.splitlines())) == (status, steps)
