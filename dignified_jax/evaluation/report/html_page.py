"""The report as one HTML page that needs no other file and no network."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from html import escape

from dignified_jax.console.labels import printable
from dignified_jax.console.table import Table
from dignified_jax.evaluation.report import figures
from dignified_jax.evaluation.report.cells import shown
from dignified_jax.evaluation.report.contents import Contents
from dignified_jax.typed_config import yaml_text

FIRST = 3
"""Tables that stand before the figures."""

_HERE = pathlib.Path(__file__).parent
# Nothing but what is in the page: no request leaves it, whatever text it shows.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"
)


class ReportError(ValueError):
    """A report can't be written."""


def page(contents: Contents, baseline: str, responses_link: str | None = None) -> str:
    """Returns the page.

    Args:
      contents: what it shows.
      baseline: model that changes are from.
      responses_link: name of the page of single responses beside it.

    Raises:
      ReportError: Plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ReportError(
            "the HTML report needs Plotly: pip install 'dignified_jax[eval]'"
        ) from error
    parts = [f"<h1>{text(contents.title)}</h1>"]
    parts += [f'<p class="warning">{text(warning)}</p>' for warning in contents.warnings]
    if responses_link:
        parts.append(
            f'<nav><a href="{escape(responses_link)}">Read single responses beside their judgments'
            "</a></nav>"
        )
    drawn = [
        f'<section><h2>{text(title)}</h2><div class="figure"></div>'
        f'<script type="application/json">{harmless(figure.to_json())}</script></section>'
        for title, figure in figures.figures(contents.scores, baseline).items()
    ]
    tables = [_table(table) for table in contents.tables]
    parts += [*tables[:FIRST], *drawn, *tables[FIRST:]]
    if contents.notes:
        notes = "".join(f"<li>{text(note)}</li>" for note in contents.notes)
        parts.append(f'<h2>Notes</h2><ul class="note">{notes}</ul>')
    parts.append(f"<h2>Configuration</h2><pre>{text(_yaml(contents.configuration), True)}</pre>")
    inputs = Table(
        name="inputs",
        title="inputs",
        columns={"input": list(contents.inputs), "hash": list(contents.inputs.values())},
    )
    parts.append(_table(inputs))
    scripts = f"<script>{get_plotlyjs()}</script>\n<script>{read('page.js')}</script>"
    return document(contents.title, "\n".join(parts), scripts)


def document(title: str, body: str, scripts: str) -> str:
    """Returns a whole HTML document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{read('page.css')}</style>\n</head>\n<body>\n"
        f"{body}\n{scripts}\n</body>\n</html>\n"
    )


def text(value: object, lines: bool = False) -> str:
    """A text as HTML that shows it; with `lines`, its line ends stay."""
    if lines:
        return "\n".join(escape(printable(line)) for line in str(value).split("\n"))
    return escape(printable(str(value)))


def harmless(content: str) -> str:
    """JSON that can stand in a script element: nothing in it can end that."""
    for character in "<>&\u2028\u2029":
        content = content.replace(character, f"\\u{ord(character):04x}")
    return content


def as_json(value: object) -> str:
    """A JSON value for a script element."""
    return harmless(json.dumps(value, ensure_ascii=True, separators=(",", ":")))


def read(name: str) -> str:
    """A file beside this module."""
    return (_HERE / name).read_text(encoding="utf-8")


def _table(table: Table) -> str:
    headings, rows, numeric = shown(table)
    kinds = [' class="number"' if right else "" for right in numeric]
    head = "".join(
        f'<th scope="col"{k}>{escape(h)}</th>' for h, k in zip(headings, kinds, strict=True)
    )
    body = "\n".join(
        "<tr>"
        + "".join(f"<td{k}>{escape(c)}</td>" for c, k in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    notes = "".join(f'<p class="note">{text(note)}</p>' for note in table.notes)
    return (
        f'<section id="{escape(table.name)}"><h2>{text(table.title)}</h2>'
        # With the keyboard only what has the focus can be moved to the right.
        f'<div class="wide" role="region" aria-label="{text(table.title)}" tabindex="0"><table>'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>{notes}</section>"
    )


def _yaml(values: Mapping[str, object]) -> str:
    return yaml_text.dump(_plain(values)) if values else ""


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    return {k: _plain(v) if isinstance(v, Mapping) else v for k, v in values.items()}
