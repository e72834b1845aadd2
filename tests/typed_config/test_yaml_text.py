"""YAML by the rules of 1.2, of plain values alone; what is wrong is told with file and line."""

import math

import pytest
import yaml

from dignified_jax.typed_config import ConfigError, yaml_text


@pytest.fixture
def read(tmp_path):
    def read(text):
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        return yaml_text.read(file)

    return read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),  # text in YAML 1.1
        ("no", "no"),  # False in YAML 1.1, and so are the next two
        ("off", "off"),
        ("Yes", "Yes"),
        ("1:30", "1:30"),  # 90
        ("012", 12),  # 10
        ("2024-01-01", "2024-01-01"),  # a date
        ("1_000", "1_000"),  # 1000
        ("true", True),
        ("~", None),
        ("", None),
        ("-3", -3),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.inf", -math.inf),
        ("Infinity", math.inf),  # JSON's
        ("'1e-5'", "1e-5"),
        ('"true"', "true"),
        ('"runs/\\ud83d\\ude00"', "runs/\N{GRINNING FACE}"),  # as json.dumps writes it
        ("embedded:a/b.jsonl", "embedded:a/b.jsonl"),
        ("[1, x, 2.5]", [1, "x", 2.5]),
        ("9" * 500, "9" * 500),  # int() refuses those of thousands of digits
    ],
)
def test_plain_values(text, value, read):
    values, _ = read(f"key: {text}")
    assert values == {"key": value}
    assert type(values["key"]) is type(value)


def test_every_name_has_its_line(read):
    values, lines = read("a: 1\n\nb:\n  c: 2  # two\n  d:\n    e: 3\n")
    assert values == {"a": 1, "b": {"c": 2, "d": {"e": 3}}}
    assert lines == {"a": 1, "b": 3, "b.c": 4, "b.d": 5, "b.d.e": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", r"run.yaml:1: not YAML: expected ',' or ']'"),
        ("a: 1\nb: c: d", r"run.yaml:2: not YAML: mapping values are not allowed here"),
        ("a: 1\na: 2", r"run.yaml:2: a stands twice"),
        ("a:\n  b: 1\n  b: 1", r"run.yaml:3: a.b stands twice"),
        ("a: &x 1\nb: *x", r"run.yaml:2: aliases \(\*x\) are not read"),
        ("a: &x [*x]", r"run.yaml:1: aliases"),
        ("a: !!python/object/apply:os.getcwd []", r"run.yaml:1: tags \(.*getcwd\) are not read"),
        ("a: !!str 1", r"run.yaml:1: tags"),
        ("? [a]\n: 1", r"run.yaml:1: expected the name of a field"),
        ("- a", r"run.yaml: expected fields"),
        ("", r"run.yaml: expected fields"),
        ("just text", r"run.yaml: expected fields"),
        ("a: 1\n---\nb: 2", r"run.yaml:2: not YAML: but found another document"),
        ("\0", r"run.yaml: not YAML: unacceptable character"),
        ("a: " + "[" * 5000 + "]" * 5000, r"run.yaml:1: sections are nested too deep"),
    ],
)
def test_what_is_wrong_is_one_line(text, message, read):
    with pytest.raises(ConfigError, match=message) as error:
        read(text)
    assert "\n" not in str(error.value)


def test_other_bytes_than_utf8_are_told(tmp_path):
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"a: \xe9\n")
    with pytest.raises(ConfigError, match=r"latin.yaml: expected UTF-8 text"):
        yaml_text.read(file)
    file.write_bytes(b"\xef\xbb\xbfa: 1\n")  # a byte order mark, as editors on Windows write it
    assert yaml_text.read(file)[0] == {"a": 1}


def test_what_is_written_is_read_back(read):
    values = {
        "texts": ["1e-5", "no", "1", "true", "~", "", "a: b", "# c", "ü\n", "Infinity", ".5", "{}"],
        "numbers": [1e-5, 1.0, 0, -3, math.inf, 5e-7, 2**40],
        "section": {"null": None, "inner": {"flag": False, "empty": []}},
    }
    text = yaml_text.dump(values)
    assert read(text)[0] == values
    # Readers of YAML 1.1 find the same, but for numbers without a point.
    assert yaml.safe_load(text) == values


def test_a_section_begins_with_its_name():
    assert yaml_text.dump({"method": {"beta": 0.1, "name": "dpo"}}) == (
        "method:\n  name: dpo\n  beta: 0.1\n"
    )
