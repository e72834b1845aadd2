"""Rubric files: the default one, own ones, and what is refused."""

import json

import pytest

from dignified_jax.evaluation import rubrics

SMALL = {
    "name": "small",
    "dimensions": {
        "X": {"about": "Is it x?", "items": {"X1": "It is x."}},
        "Y": {"title": "Why", "about": "Is it y?", "items": {"Y1": "It is y.", "Y2": "So y."}},
    },
    "groups": ["Both:X+Y"],
}


def write(directory, content):
    file = directory / "rubric.json"
    file.write_text(json.dumps(content))
    return file


def test_the_default_has_three_items_of_each_dimension(rubric):
    names = [item.name for item in rubric.items]
    assert names == [f"{dimension}{number}" for dimension in "ATEC" for number in (1, 2, 3)]
    assert rubric.dimensions == ("A", "T", "E", "C")
    assert rubric.groups == {"Peer": ("E", "C"), "Dignity": ("A", "T")}


def test_own_rubric(tmp_path):
    found = rubrics.read(write(tmp_path, SMALL))
    assert [(i.name, i.dimension) for i in found.items] == [("X1", "X"), ("Y1", "Y"), ("Y2", "Y")]
    assert found.titles == {"X": "X", "Y": "Why"}
    assert found.groups == {"Both": ("X", "Y")}


def test_the_hash_is_of_what_a_judge_reads(tmp_path):
    before = rubrics.read(write(tmp_path, SMALL)).hash
    other_group = SMALL | {"groups": []}
    assert rubrics.read(write(tmp_path, other_group)).hash == before
    changed = json.loads(json.dumps(SMALL))
    changed["dimensions"]["Y"]["items"]["Y2"] = "So Y."
    assert rubrics.read(write(tmp_path, changed)).hash != before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": {}}, "dimension is not a field; there are name, dimensions, groups"),
        ({"dimensions": {}}, "dimensions must be a section"),
        ({"dimensions": {"X": 1}}, "dimensions.X must be a section, found 1"),
        ({"dimensions": {"X": {"about": "a", "items": {}}}}, "dimensions.X.items must be"),
        ({"dimensions": {"X": {"about": "a", "items": {"X1": 3}}}}, "items.X1 must be a text"),
        ({"dimensions": {"X": {"about": "a", "items": {"X1": " "}}}}, "items.X1 must be a text"),
        ({"dimensions": {"X": {"items": {"X1": "s"}}}}, "dimensions.X.about must be a text"),
        ({"dimensions": {"x y": {}}}, "dimensions: expected names"),
        ({"groups": "Both:X+Y"}, "groups: expected a list of texts"),
        ({"groups": ["Both:X+Z"]}, "groups: expected distinct names out of"),
        ({"name": None}, "name must be a text"),
    ],
)
def test_refusals_name_file_and_field(tmp_path, change, message):
    file = write(tmp_path, SMALL | change)
    with pytest.raises(rubrics.RubricError) as error:
        rubrics.read(file)
    assert message in str(error.value)
    assert str(error.value).startswith(str(file))


def test_an_item_of_two_dimensions_is_refused(tmp_path):
    content = json.loads(json.dumps(SMALL))
    content["dimensions"]["Y"]["items"]["X1"] = "It is x."
    with pytest.raises(rubrics.RubricError, match="X1 is an item of X too"):
        rubrics.read(write(tmp_path, content))


def test_a_key_that_stands_twice_is_refused(tmp_path):
    file = tmp_path / "rubric.yaml"
    file.write_text("name: a\nname: b\n")
    with pytest.raises(rubrics.RubricError, match=r"rubric.yaml:2: name stands twice"):
        rubrics.read(file)
