"""A page to read single responses beside their judgments: people look before they believe."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from dignified_jax.evaluation.report.html_page import as_json, document, read, text
from dignified_jax.evaluation.responses import Response, prompt_text

MOST_CHARACTERS = 20_000_000
"""Of prompts and responses in a page; further ones are left out, and it says so."""

_FORM = """<form>
<label>model <select name="model"><option value="">all</option></select></label>
<label>item <select name="item"><option value="">any</option></select></label>
<label>score <select name="verdict"><option value="">any</option><option value="1">1</option>
<option value="0">0</option><option value="split">judges or items differ</option></select></label>
<label>text <input name="text" type="search"></label>
</form>
<p class="count" id="count"></p>
<noscript><p class="warning">This page needs JavaScript to show its responses.</p></noscript>
<div id="list"></div>
<button id="more" type="button" hidden>more</button>"""


def page(
    title: str, warnings: Sequence[str], responses: Sequence[Response], table: pa.Table
) -> str:
    """Returns the page.

    Args:
      title: of the page.
      warnings: sentences that stand first.
      responses: to show, in this order.
      table: of their judgments (`judgments.SCHEMA`).
    """
    kept, characters = [], 0
    for response in responses:
        characters += len(prompt_text(response.prompt)) + len(response.text)
        if characters > MOST_CHARACTERS:
            break
        kept.append(response)
    found: dict[tuple[str, str], dict[str, dict[str, int]]] = {}
    names = ("model", "question", "judge", "rubric", "score")
    columns = [table[name].to_pylist() for name in names]
    for model, question, judge, item, score in zip(*columns, strict=True):
        found.setdefault((model, question), {}).setdefault(judge, {})[item] = score
    content = {
        "models": list(dict.fromkeys(response.model for response in kept)),
        "items": list(dict.fromkeys(table["rubric"].to_pylist())),
        "responses": [
            {
                "model": response.model,
                "question": response.question,
                "prompt": prompt_text(response.prompt),
                "text": response.text,
                "judgments": found.get((response.model, response.question), {}),
            }
            for response in kept
        ],
    }
    parts = [f"<h1>{text(title)}</h1>"]
    parts += [f'<p class="warning">{text(warning)}</p>' for warning in warnings]
    if left := len(responses) - len(kept):
        parts.append(f'<p class="warning">{left} further responses are left out.</p>')
    parts.append(_FORM)
    scripts = (
        f'<script type="application/json" id="data">{as_json(content)}</script>\n'
        f"<script>{read('responses.js')}</script>"
    )
    return document(title, "\n".join(parts), scripts)
