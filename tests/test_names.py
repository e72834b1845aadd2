"""One word, one meaning: what public names and docstrings keep to."""

import ast
import collections
import pathlib

import dignified_jax

ROOT = pathlib.Path(dignified_jax.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
# A docstring begins with a verb or a noun that says the thing.
VAGUE = ("What", "Of", "Whether", "As", "For")


def parse(file):
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def public_classes():
    """Name -> files that define a public class of that name."""
    found = collections.defaultdict(list)
    for file in FILES:
        for node in parse(file).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(file.relative_to(ROOT)))
    return found


def vague_docstrings(tree):
    """Lines of the definitions whose docstring begins with one of VAGUE."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            words = (ast.get_docstring(node) or "").split()
            if words and words[0].rstrip(",:") in VAGUE:
                lines.append(getattr(node, "lineno", 1))
    return lines


def test_no_two_public_classes_share_a_name():
    assert {name: files for name, files in public_classes().items() if len(files) > 1} == {}


def test_docstrings_say_the_thing():
    found = {str(file.relative_to(ROOT)): vague_docstrings(parse(file)) for file in FILES}
    assert {file: lines for file, lines in found.items() if lines} == {}


def test_the_check_sees_a_vague_docstring():
    assert vague_docstrings(ast.parse('def f():\n    """Of a tree: its leaves."""')) == [1]
