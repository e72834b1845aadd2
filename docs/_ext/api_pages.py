"""Writes api/: a page for every room of the package, from the modules that lie in it."""

from __future__ import annotations

import ast
import pathlib

from sphinx.application import Sphinx

import dignified_jax

PACKAGE = pathlib.Path(dignified_jax.__file__).parent
# Rooms of which everything is for the package's own use.
HIDDEN = ("embedded",)
TABLE = (".. list-table::", "   :widths: 35 65", "")


def pages() -> dict[str, str]:
    """File name -> reStructuredText, for every folder with modules, and an index."""
    found = {}
    for folder in sorted([PACKAGE, *PACKAGE.rglob("*")]):
        if (folder / "__init__.py").is_file() and folder.name not in HIDDEN:
            name = ".".join(["dignified_jax", *folder.relative_to(PACKAGE).parts])
            found[f"{name}.rst"] = _page(folder, name)
    del found["dignified_jax.rst"]
    names = [file.removesuffix(".rst") for file in found]
    rows = [_table_row(f":doc:`{_short(name)} <{name}>`", _first_line(name)) for name in names]
    index = [
        *("API", "===", "", "Every module, by the folder that it lies in.", ""),
        *(*TABLE, _table_row(":doc:`commands`", "The entry points: parse, call, print."), *rows),
        *("", ".. toctree::", "   :hidden:", "", *(f"   {n}" for n in ["commands", *names]), ""),
    ]
    return found | {"index.rst": "\n".join(index), "commands.rst": _commands()}


def _commands() -> str:
    """What the entry points say of themselves; they define flags, so they are not imported."""
    lines = _heading("Commands", "=")
    for file in sorted(PACKAGE.rglob("__main__.py")) + sorted(PACKAGE.glob("*.py")):
        text = _docstring(file)
        if "python -m" in text:
            parts = file.relative_to(PACKAGE).with_suffix("").parts
            name = ".".join(["dignified_jax", *(part for part in parts if part != "__main__")])
            lines += [*_heading(f"python -m {name}", "-"), "::", ""]
            lines += [f"   {line}" for line in text.splitlines()] + [""]
    return "\n".join(lines)


def _page(folder: pathlib.Path, name: str) -> str:
    lines = [".. highlight:: none", "", *_heading(_short(name), "="), f".. automodule:: {name}", ""]
    if exported := _exported(folder / "__init__.py"):
        names = ", ".join(f":py:obj:`{path.rpartition('.')[2]} <{path}>`" for path in exported)
        lines += [f"Names that the package itself gives: {names}.", ""]
    for file in sorted(folder.glob("*.py")):
        if file.stem not in ("__init__", "__main__"):
            module = f"{name}.{file.stem}"
            lines += _heading(_short(module), "-")
            # A name is described where it is defined, not where it is passed on.
            lines += [f".. automodule:: {module}", "   :members:", "   :ignore-module-all:", ""]
    return "\n".join(lines)


def _short(name: str) -> str:
    return name.removeprefix("dignified_jax.")


def _heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _table_row(left: str, right: str) -> str:
    return f"   * - {left}\n     - {right}"


def _exported(file: pathlib.Path) -> list[str]:
    """Full paths of the names that an ``__init__.py`` takes from its modules."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return [
        f"{node.module}.{alias.name}"
        for node in imports
        if node.module and node.module.startswith("dignified_jax")
        for alias in node.names
    ]


def _first_line(name: str) -> str:
    return _docstring(PACKAGE.joinpath(*name.split(".")[1:], "__init__.py")).partition("\n")[0]


def _docstring(file: pathlib.Path) -> str:
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def _write(app: Sphinx) -> None:
    folder = pathlib.Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    wanted = pages()
    for file in folder.glob("*.rst"):
        if file.name not in wanted:
            file.unlink()
    for name, text in wanted.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True}
