"""Prompts and dimensions in files, the package's and one's own."""

import pytest

from dignified_jax.construction import guide, templates
from dignified_jax.typed_config import ConfigError

GUIDE = """\
dimensions:
  safety:
    title: Safety
    definition: Warns of what is dangerous.
    failure: Leaves the danger out.
    rubric: [It names the danger.]
"""


def test_own_prompts_take_the_place_of_single_ones(tmp_path):
    (tmp_path / "order.txt").write_text("[system]\nS $$5\n[user]\n$material $dimensions $keys\n")
    found = templates.read(tmp_path)
    filled = found.fill("order", material="$keys <x>", dimensions="d", keys="k")
    assert filled == ("S $5", "$keys <x> d k")  # what is filled in is not searched again
    assert found.templates["golden"] == templates.read().templates["golden"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("order.txt", "[user]\n$material", "expected a line .system."),
        ("order.txt", "[system]\nx\n[user]\n$material $keys", "expected a .dimensions"),
        ("order.txt", "[system]\nx\n[user]\n$material $dimensions $keys $x", "expected no .x"),
        ("order.txt", "[system]\n5 $\n[user]\n$material $dimensions $keys", "a lone"),
        ("ordre.txt", "", "did you mean order"),
        ("criteria.yaml", "scenario: {S1: a, S2: b}\n", "expected scenario with a text for S1"),
    ],
)
def test_wrong_prompts_are_told(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        templates.read(tmp_path)
    assert str(tmp_path / name) in str(error.value)


def test_own_dimensions(tmp_path):
    file = tmp_path / "d.yaml"
    file.write_text(GUIDE)
    (found,) = guide.read(file).values()
    assert found == guide.DimensionGuide(
        "safety",
        "Safety",
        "Warns of what is dangerous.",
        "Leaves the danger out.",
        ("It names the danger.",),
    )
    assert list(guide.read()) == ["A", "T", "E", "C"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    failure: Leaves the danger out.\n", "", "failure must be a text"),
        ("failure:", "failing:", "did you mean dimensions.safety.failure|is not a field"),
        ("[It names the danger.]", "It names it.", "rubric must be a list"),
        ("[It names the danger.]", "[]", "rubric must be a list"),
        ("  safety:", "  golden:", "is the name of the good response"),
        ("dimensions:", "dims:", "dims is not a field"),
    ],
)
def test_wrong_dimensions_are_told(tmp_path, old, new, message):
    file = tmp_path / "d.yaml"
    file.write_text(GUIDE.replace(old, new))
    with pytest.raises(ConfigError, match=message) as error:
        guide.read(file)
    assert str(file) in str(error.value)


def test_files_that_are_no_prompts_and_marks_that_are_no_text_do_no_harm(tmp_path):
    own = b"\xef\xbb\xbf[system]\r\nS\r\n[user]\r\n$material $dimensions $keys\r\n"
    (tmp_path / "order.txt").write_bytes(own)
    for name in (".DS_Store", "._order.txt", ".order.txt.swp"):
        (tmp_path / name).write_bytes(b"\xff\0")
    assert templates.read(tmp_path).templates["order"].system == "S"
    (tmp_path / "order.txt").write_bytes(own.replace(b"S", b"\xe9"))
    with pytest.raises(ConfigError, match=r"order\.txt: expected UTF-8 text"):
        templates.read(tmp_path)
