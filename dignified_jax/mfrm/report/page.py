"""A report as one HTML page that needs no other file, no network and no script.

It follows the reader's light or dark theme, scrolls wide tables on narrow screens and prints. Every
text is escaped, and what would act on a reader (bidirectional overrides, say) shown as an escape.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from dignified_jax.console.labels import printable
from dignified_jax.console.table import Table, number

# Rows of a table on the page; all are in its CSV file.
MOST_ROWS = 200
# Nothing is loaded and nothing runs, even if a label could break out of its place.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1c; --paper: #ffffff; --faint: #6a6a6a;
  --line: #d9d9d9; --band: #f5f6f8; --link: #0b57a4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181b; --faint: #a0a0a0; --line: #3a3d42; --band: #1f2227;
    --link: #8ab8ee; }
  figure svg { filter: invert(0.91) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem clamp(0.8rem, 3vw, 3rem) 4rem; max-width: 100rem;
  background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.4rem 0 0.3rem; }
p, li { max-width: 75ch; overflow-wrap: anywhere; }
a { color: var(--link); }
nav ul { columns: 13rem; padding-left: 1.1rem; }
.verdict { border-left: 4px solid var(--link); background: var(--band); padding: 0.4rem 1rem; }
.faint { color: var(--faint); font-size: 0.9rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 4px; }
table { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.65rem; text-align: left; white-space: nowrap; }
th { border-bottom: 1px solid var(--line); font-weight: 600; background: var(--band); }
td.n, th.n { text-align: right; }
tbody tr:nth-child(even) { background: var(--band); }
tfoot td { border-top: 1px solid var(--line); color: var(--faint); }
td bdi { display: inline-block; max-width: 28rem; white-space: normal; overflow-wrap: anywhere; }
figure { margin: 0.8rem 0; overflow-x: auto; }
figure svg { max-width: 100%; min-width: 34rem; height: auto; display: block; }
@media print {
  :root { --ink: #000; --paper: #fff; --faint: #444; --line: #999; --band: #fff; --link: #000; }
  body { padding: 0; font-size: 10pt; }
  nav { display: none; }
  figure svg { filter: none; min-width: 0; }
  figure, .verdict { break-inside: avoid; }
  h2 { break-after: avoid; }
  .scroll { overflow: visible; border: 0; }
  table { font-size: 6.5pt; }
  th, td { padding: 0.05rem 0.25rem; white-space: normal; }
  thead { display: table-header-group; }
}
"""


def page(
    title: str,
    lines: Sequence[str],
    tables: Sequence[Table],
    *,
    verdict: Sequence[str] = (),
    figures: Sequence[tuple[str, str, str]] = (),
) -> str:
    """The page.

    Args:
      title: of the page.
      lines: on the fit.
      tables: all that are shown.
      verdict: sentences at the top.
      figures: names, titles and <svg> elements.
    """
    figures = [(f"figure_{name}", heading, svg) for name, heading, svg in figures]
    sections = [(name, heading) for name, heading, _ in figures]
    sections += [(table.name, _heading(table)) for table in tables]
    links = "".join(f'<li><a href="#{_text(n)}">{_text(h)}</a></li>' for n, h in sections)
    told = "".join(f"<li>{_text(line)}</li>" for line in lines if line not in verdict)
    short = "".join(f"<li>{_text(line)}</li>" for line in verdict)
    short = f'<section class="verdict" id="verdict"><h2>In short</h2><ul>{short}</ul></section>'
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{_text(title)}</h1>",
        short if verdict else "",
        f'<section id="fit"><h2>The fit</h2><ul>{told}</ul></section>',
        f"<nav><h2>Contents</h2><ul>{links}</ul></nav>",
        *(_figure(*figure) for figure in figures),
        *(_section(table) for table in tables),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    return html.escape(printable(str(value)))


def _heading(table: Table) -> str:
    return table.name.replace("_", " ").capitalize()


def _figure(name: str, title: str, svg: str) -> str:
    drawn = svg.replace("<svg", f'<svg role="img" aria-label="{_text(title)}"', 1)
    return f'<section id="{_text(name)}"><h2>{_text(title)}</h2><figure>{drawn}</figure></section>'


def _section(table: Table) -> str:
    """A table with its title and notes; of a long one the first rows."""
    shown = min(table.rows, MOST_ROWS)
    numeric = {
        name: all(isinstance(value, (int, float)) for value in values)
        for name, values in table.columns.items()
    }
    head = "".join(
        f'<th scope="col"{_kind(numeric[name])}>{_text(name)}</th>' for name in table.columns
    )
    rows = [
        "<tr>"
        + "".join(
            f"<td{_kind(numeric[name])}>{_cell(name, values[row])}</td>"
            for name, values in table.columns.items()
        )
        + "</tr>"
        for row in range(shown)
    ]
    notes = list(table.notes)
    if shown < table.rows:
        notes.insert(0, f"the first {shown} of {table.rows:,} rows; {table.name}.csv has all")
    told = "".join(f'<p class="faint">{_text(note)}</p>' for note in notes)
    return (
        f'<section id="{_text(table.name)}"><h2>{_text(_heading(table))}</h2>'
        f'<p class="faint">{_text(table.title)}</p><div class="scroll"><table><thead><tr>{head}'
        f"</tr></thead><tbody>{''.join(rows)}</tbody>{_foot(table)}</table></div>{told}</section>"
    )


def _foot(table: Table) -> str:
    """Mean and standard deviation under the columns that have them."""
    summary = table.summary() if table.rows > 1 else {}
    if not summary:
        return ""
    lines = []
    for which, label in enumerate(("mean", "sd")):
        cells = [
            f'<td class="n">{number(name, summary[name][which])}</td>'
            if name in summary
            else f"<td>{label if place == 0 else ''}</td>"
            for place, name in enumerate(table.columns)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<tfoot>{''.join(lines)}</tfoot>"


def _kind(numeric: bool) -> str:
    return ' class="n"' if numeric else ""


def _cell(name: str, value: object) -> str:
    if isinstance(value, float):
        return _text(number(name, value))
    return _text(value) if isinstance(value, int) else f"<bdi>{_text(value)}</bdi>"
