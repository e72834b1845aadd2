"""Rubric files: the one that ships, others, and what is wrong with them."""

import pytest

from dignified_jax.review import rubric

pytestmark = pytest.mark.wiring


def test_ours_has_the_default_dimensions_and_blinded_statements():
    found = rubric.read(rubric.DEFAULT_FILE, ("A", "E", "Other"))
    assert list(found.guides) == ["A", "E"] and found.guide("Other").title == "Other"
    assert found.statements("E")["N2"].startswith("The other response fails in Empathy")
    said = " ".join(
        [*found.items.values(), *(g.definition + g.failure for g in found.guides.values())]
    )
    assert "golden" not in said and "negative" not in said
    assert rubric.Questionnaire.from_object(found.as_object(), "x") == found


def test_a_file_of_dimensions_for_construction_is_one():
    file = rubric.DEFAULT_FILE.parents[1] / "construction" / "persona.yaml"
    found = rubric.read(file, ("A", "C"))
    assert found.items == rubric.read(rubric.DEFAULT_FILE, ()).items
    assert found.guide("A").title == "Anti-sycophancy" and len(found.guide("C").rubric) == 3
    assert rubric.Questionnaire.from_object(found.as_object(), "x") == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a", "expected a mapping"),
        ("item: []", "expected keys out of dimensions, items, found 'item'"),
        ("items: [{id: 1, text: a}]", r"items\[0\].id: expected text, found 1"),
        ("items: [{id: '<b>', text: a}]", r"items\[0\].id: expected a letter"),
        ("items: [{id: a, text: b}, {id: a, text: c}]", r"items\[1\].id: .* another id"),
        ("items: [{id: a}]", r"items\[0\].text: expected text, found None"),
        ("items: abc", "items: expected a list"),
        ("dimensions: {A: {title: a, color: b}}", "dimensions.A: expected keys out of title"),
        ("dimensions: {A: {title: ''}}", r"dimensions.A.title: expected text"),
        ("dimensions: {A: {definition: good}}", "dimensions.A.title: expected text"),
        ("dimensions: {A: {title: a, rubric: b}}", "dimensions.A.rubric: expected a list"),
        ("dimensions: {A: {title: a, rubric: [1]}}", r"dimensions.A.rubric\[0\]: expected text"),
        ("{", "not readable as YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, said):
    file = tmp_path / "asked.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"asked.yaml: .*{said}|asked.yaml: {said}"):
        rubric.read(file, ("A",))
