"""Lines for a person."""

from dignified_jax.files.differences import differences


def test_fields_of_sections_are_named_whole_and_ignored_ones_left_out():
    before = {"a": 1, "b": {"c": [2], "d": "x y"}, "e": 3, "gone": None}
    now = {"a": 1, "b": {"c": [4], "d": ""}, "e": 5, "new": True}
    assert differences(before, now, {"e"}) == [
        "b.c: [2] there, [4] now",
        "b.d: x y there, '' now",
        "gone: None there, (absent) now",
        "new: (absent) there, True now",
    ]
    assert differences(before, now, {"b", "e", "gone", "new"}) == []
