"""Every command and Python block of the documentation is run, or at least known."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import typing

import pytest

from dignified_jax.construction.config import ConstructionConfig
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.objectives import METHODS, Method
from dignified_jax.training.config import TrainConfig
from tests import test_imports
from tests.docs import known, scratch
from tests.docs.blocks import PAGES, ROOT, Block, commands, missing, parse, read

pytestmark = pytest.mark.wiring

_QUICK = ("train", "compare", "convert", "data", "mfrm", "generate", "evaluate", "construct")
QUICK = {f"dignified_jax.{name}" for name in _QUICK}
LANGUAGES = {"bash", "python", "json", "yaml", "text"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    scratch.write(directory)
    return directory


@pytest.fixture
def directory(prepared, tmp_path, monkeypatch):
    """A directory with the files that the pages name; the working directory."""
    shutil.copytree(prepared, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Of commands: this Python, this checkout, one compilation cache for all."""
    programs = tmp_path_factory.mktemp("bin")
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n', encoding="utf-8")
    (programs / "python").chmod(0o755)
    return os.environ | {
        "PATH": f"{programs}:{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "JAX_COMPILATION_CACHE_DIR": os.environ["DIGNIFIED_COMMAND_CACHE"],
        "XLA_FLAGS": "",
    }


def run_python(block, names):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, block.where, "exec"), names)
    return printed.getvalue()


def run_commands(block, environment):
    """What the commands print. Those of `QUICK` run in this process, which has imported JAX."""
    parsed = commands(block)
    quick = all(words[:2] == ["python", "-m"] and words[2] in QUICK for words in parsed)
    if quick and block.kind == "":
        printed = ""
        for _, _, module, *arguments in parsed:
            status, said = known.call(module, arguments)
            assert not status, f"{block.where}: {status} {said}"
            printed += said
        return printed
    # What pip installs is installed already, and the whole suite does not run itself.
    text = re.sub(r"pip install [^&\n]*&& ", "", block.text)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3600,
        check=False,
    )
    assert done.returncode == 0, f"{block.where}\n{done.stdout}"
    return done.stdout


def write_file(block):
    pathlib.Path(block.argument).write_text(block.text + "\n", encoding="utf-8")


def run_page(page, environment, *, slow):
    """Runs the blocks in order, in one Python namespace, and checks the outputs shown."""
    printed, names = None, {"__name__": "__main__"}
    for block in read(page):
        if block.kind == "file":
            write_file(block)
        elif block.kind == "output":
            if printed is not None:
                line = missing(block.text, printed)
                assert line is None, f"{block.where}: not printed: {line}\n{printed}"
        elif block.language in ("bash", "python"):
            printed = None
            if block.runs and (slow or block.kind != "slow"):
                python = block.language == "python"
                printed = run_python(block, names) if python else run_commands(block, environment)


def with_blocks(*kinds):
    """Pages that have a block of bash or Python of one of the kinds."""
    return [p for p in PAGES if any(b.runs and b.kind in kinds for b in read(p))]


@pytest.mark.parametrize("page", with_blocks(""))
def test_quick_blocks_run(page, directory, environment, monkeypatch):
    monkeypatch.syspath_prepend(directory)
    run_page(page, environment, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", with_blocks("slow"))
def test_all_blocks_run(page, directory, environment, monkeypatch):
    monkeypatch.syspath_prepend(directory)
    run_page(page, environment, slow=True)


@pytest.mark.parametrize("page", PAGES)
def test_flags_and_keys_are_known(page, directory):
    for block in read(page):
        if block.kind == "file":
            write_file(block)
        elif block.language == "bash":
            for words in commands(block):
                assert (problem := known.problem(words)) is None, f"{block.where}: {problem}"


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_it_is(page):
    for block in read(page):
        if block.language.startswith("{"):
            continue
        assert block.language in LANGUAGES, block.where
        assert block.kind != "not run" or block.argument, f"{block.where}: without a reason"
        assert block.kind != "slow" or block.runs, block.where
        if block.language == "json":
            for line in block.text.splitlines():
                json.loads(line)


def test_a_comment_counts_for_the_block_below_it():
    text = (
        "<!-- not run: needs a cluster -->\n```bash\nsbatch x\n```\n\n"
        "```bash\nls \\\n  -l && pwd\n```\n"
        "- <!-- slow -->\n  ```python\n  if True:\n      pass\n  ```\n"
        "<!-- file: a.json -->\n```json\n{}\n```\n"
    )
    blocks = parse("page", text)
    assert [(b.line, b.kind, b.argument, b.runs) for b in blocks] == [
        (2, "not run", "needs a cluster", False),
        (6, "", "", True),
        (11, "slow", "", True),
        (16, "file", "a.json", False),
    ]
    assert commands(blocks[1]) == [["ls", "-l"], ["pwd"]]
    assert blocks[2].text == "if True:\n    pass"


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for name in set(re.findall(r"`((?:\w+/)+\w+\.(?:py|md|sh))`", text)):
        places = (ROOT / name, ROOT / "dignified_jax" / name)
        assert any(place.exists() for place in places), f"{page}: {name}"


def test_the_import_rules_are_those_that_are_tested():
    """The table of docs/architecture.md against `test_imports.ALLOWED`."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("| part | may import |")[1].split("\n\n")[0]
    written = {}
    for line in table.splitlines()[2:]:
        parts, allowed, _ = (set(re.findall(r"`(\w+)`", cell)) for cell in line[1:].split("|"))
        if "and the ground" in line or "| the ground |" in line:
            allowed |= test_imports.GROUND
        if "may import |" in line:
            allowed = allowed.union(*(test_imports.ALLOWED[name] for name in allowed))
        written |= {part: allowed for part in parts}
    # Every part may import the package itself, which imports nothing.
    rules = {part: allowed - {""} for part, allowed in test_imports.ALLOWED.items() if part}
    assert written == rules


def test_the_reference_has_every_method():
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    ours = {name for name in METHODS if METHODS[name].__module__.startswith("dignified_jax.")}
    assert set(re.findall(r"^## method: (\w+)$", text, re.MULTILINE)) == ours


@pytest.mark.parametrize("whole", [TrainConfig, EvaluationConfig, ConstructionConfig])
def test_the_reference_has_every_section(whole):
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\{config-fields\} dignified_jax\.\S*\.(\w+)$", text, re.MULTILINE))
    hints = typing.get_type_hints(whole)
    sections = {hints[field.name] for field in dataclasses.fields(whole)} - {Method}
    wanted = {each.__name__ for each in (whole, *filter(dataclasses.is_dataclass, sections))}
    assert len(wanted) > 3 and wanted <= shown


def test_every_flag_of_a_command_is_on_a_page():
    text = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    written = set(re.findall(r"--[a-z][\w-]*", text))
    found = {}
    for file in sorted((ROOT / "dignified_jax").rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        if "argparse" in source:
            flags = re.findall(r'add(?:_argument)?\(\s*"(--[a-z][\w-]*)"', source)
            found |= dict.fromkeys(flags, file.name)
    assert len(found) > 100
    assert {flag: name for flag, name in found.items() if flag not in written} == {}


@pytest.mark.parametrize(
    ("shown", "printed", "line"),
    [
        ("A 24 0.67", "x\nA   25   0.7\n", None),
        ("A 24 0.67", "A 24\n", "A 24 0.67"),
        ("A 1\nB 2", "B 1\nA 2\n", "B 2"),
        ("a 1 …\n…\nb", "a 2 c d\nx\nb\n", None),
        ("error", "no error\n", "error"),
    ],
)
def test_missing_compares_shapes(shown, printed, line):
    assert missing(shown, printed) == line


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python -m dignified_jax.train --config=lagdpo --config.epoch=1", "epoch"),
        ("python -m dignified_jax.train --config=nothing", "nothing"),
        ("python -m dignified_jax.train --config=lagdpo --plans", "--plans"),
        ("python -m dignified_jax.mfrm ratings.csv --thresh 3", "--thresh"),
        ("python -m dignified_jax.convert to-gguf --out x", "to-gguf"),
        ("pip install -e '.[everything]'", "everything"),
        ("--config.lora.ranks=3", "lora.ranks"),
        ("frobnicate", "frobnicate"),
    ],
)
def test_unknown_flags_and_keys_are_found(command, words):
    (parsed,) = commands(Block("page", 1, "bash", command, "", ""))
    assert words in known.problem(parsed)
