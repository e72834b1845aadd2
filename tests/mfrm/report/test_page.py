"""The HTML page: escaped, cut and footed as it should be."""

import pytest

from dignified_jax.console.table import Table
from dignified_jax.mfrm.report import page as pages

pytestmark = pytest.mark.wiring

LABEL = "</td><img src=x onerror=alert(1)>\u202e\"'&"


@pytest.fixture(scope="module")
def text():
    tables = (
        Table("judge", f"of {LABEL}", {LABEL: [LABEL, "b"], "se": [0.5, float("nan")]},
              summarised=("se",), notes=(LABEL,)),
        Table("long", "many rows", {"n": list(range(500))}),
    )  # fmt: skip
    verdict = (f"harsh: {LABEL}",)
    figures = [("map", LABEL, "<svg><path/></svg>")]
    return pages.page(LABEL, ["converged", *verdict], tables, verdict=verdict, figures=figures)


def test_every_text_is_escaped(text):
    assert "<img" not in text and "</td><img" not in text and "\u202e" not in text
    # Title, h1, verdict, contents, a figure twice; of a table title, head, cell and note.
    assert text.count("&lt;/td&gt;&lt;img src=x onerror=alert(1)&gt;\\u202e&quot;&#x27;&amp;") == 10


def test_long_tables_are_cut_and_say_so(text):
    assert "the first 200 of 500 rows; long.csv has all" in text
    assert '<td class="n">199</td>' in text and '<td class="n">200</td>' not in text


def test_unknown_values_and_means(text):
    assert '<td class="n">-</td>' in text
    assert '<tr><td>mean</td><td class="n">0.50</td></tr>' in text
    assert text.count("harsh:") == 1  # the verdict is not told twice
