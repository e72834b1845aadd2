"""Values to dataclasses: types, sections by name, merging, and suggestions."""

import dataclasses
import os
from typing import Annotated, Literal

import pytest

from dignified_jax.typed_config import Bounds, ConfigError, Paths, check_bounds, merge, sections
from dignified_jax.typed_config.errors import suggestion
from dignified_jax.typed_config.flag_text import FlagText, take_overrides


class Shape:
    """The base of shapes."""


@dataclasses.dataclass(frozen=True)
class Circle(Shape):
    """A circle.

    Attributes:
      radius: in metres.
    """

    radius: float = 1.0

    name = "circle"


@dataclasses.dataclass(frozen=True)
class Square(Shape):
    """A square.

    Attributes:
      side, height: in metres.
    """

    side: float = 2.0
    height: float | None = None

    name = "square"


SHAPES = {"circle": Circle, "square": Square}


@dataclasses.dataclass(frozen=True)
class Inner:
    """A section."""

    learning_rate: float = 0.1
    flag: bool = False


@dataclasses.dataclass(frozen=True)
class Outer:
    """All kinds of fields."""

    count: Annotated[int, Bounds("[1, 10]")] = 3
    limit: int | None = None
    mode: Literal["fast", "slow"] = "fast"
    names: tuple[str, ...] = ()
    rates: tuple[float, ...] = (0.5,)
    paths: Paths = "one"
    others: Paths | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)
    shape: Annotated[Shape, SHAPES] = dataclasses.field(default=Circle())

    def __post_init__(self):
        check_bounds(self, "")


def parse(values):
    return sections.parse(Outer, values, "")


def from_flags(*arguments):
    overrides, rest = take_overrides(arguments)
    assert not rest
    return parse(overrides)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, r"unknown config key cuont; known: count, .*; did you mean count\?$"),
        (
            {"inner": {"rate": 1}},
            r"unknown config key inner.rate; .*; did you mean inner.learning_rate or rates\?$",
        ),
        ({"learning_rate": 1}, r".*; did you mean inner.learning_rate\?$"),
        ({"inner": {"mode": "slow"}}, r".*; did you mean mode\?$"),
        ({"zzz": 1}, r"unknown config key zzz; known: count, inner, .*, shape$"),
        (
            {"mode": "fsat"},
            r"mode must be one of 'fast', 'slow', found 'fsat'; did you mean fast\?",
        ),
        ({"mode": 1}, r"mode must be one of 'fast', 'slow', found 1$"),
        (
            {"shape": {"name": "sqare"}},
            r"shape.name must be one of circle, square, .*mean square\?",
        ),
        ({"shape": {"name": ["x"]}}, r"shape.name must be one of circle, square, found \['x'\]"),
        ({"shape": {"side": 1}}, r"unknown config key shape.side; known: shape.radius"),
        ({"shape": 3}, r"shape must be a section of fields, found 3"),
        ({"inner": 3}, r"inner must be a section of fields, found 3"),
        ({"count": 1.0}, r"count must be of type int, found 1.0"),
        ({"count": 0}, r"count must be at least 1, found 0"),
        ({"count": 10**5000}, r"count must be at most 10, found a number of thousands of digits"),
        ({"limit": 10**30}, r"limit must be within 64 bits"),
        ({"inner": {"learning_rate": float("nan")}}, r"inner.learning_rate must be a number"),
        ({"inner": {"learning_rate": 10**400}}, r"inner.learning_rate must be of type float"),
        (
            {"names": [["x" * 999]]},
            r"names must be of type str, found \['xxx.*\.\.\.",
        ),
        ({3: 4}, r"unknown config key 3; known: count"),
        ({"paths": []}, r"paths must name at least one, found none"),
        ({"paths": ["a", 3]}, r"paths must be of type str, found 3"),
        ({"others": 3}, r"others must be of type str, found 3"),
    ],
)
def test_what_is_wrong_is_named(values, message):
    with pytest.raises(ConfigError, match=message) as error:
        parse(values)
    assert "\n" not in str(error.value)


def test_a_section_by_name_is_of_its_class():
    assert parse({}).shape == Circle(1.0)
    assert parse({"shape": {"radius": 3}}).shape == Circle(3.0)
    assert parse({"shape": {"name": "square", "side": 3}}).shape == Square(3.0)
    assert parse({"shape": "square"}).shape == Square()
    assert sections.defaults(Outer).shape.to_dict() == {"name": "circle", "radius": 1.0}


def test_another_name_leaves_nothing_of_the_former_section():
    base = {"shape": {"name": "circle", "radius": 3.0}, "inner": {"flag": True}}
    merged = merge(base, {"shape": {"name": "square"}, "inner": {"learning_rate": 1.0}})
    assert merged["shape"] == {"name": "square"}
    assert merged["inner"] == {"flag": True, "learning_rate": 1.0}
    same = merge(base, {"shape": {"name": FlagText("circle")}})
    assert same["shape"] == base["shape"]
    assert base["shape"] == {"name": "circle", "radius": 3.0}  # untouched


@pytest.mark.parametrize(
    ("arguments", "field", "value"),
    [
        (["--config.count=7"], "count", 7),
        (["--config.count", "7"], "count", 7),
        (["--config.count=7", "--config.count=8"], "count", 8),
        (["--config.limit=None"], "limit", None),
        (["--config.limit=-5"], "limit", -5),
        (["--config.names=a,b"], "names", ("a", "b")),
        (["--config.names=('a,b', 'c')"], "names", ("a,b", "c")),
        (["--config.names=a"], "names", ("a",)),
        (["--config.names=1"], "names", ("1",)),
        (["--config.names="], "names", ()),
        (["--config.names=()"], "names", ()),
        (["--config.rates=0.5,1"], "rates", (0.5, 1.0)),
        (["--config.paths=a"], "paths", "a"),
        (["--config.paths=a,b"], "paths", ("a", "b")),
        (["--config.paths=['a', 'b,c']"], "paths", ("a", "b,c")),
        (["--config.paths=['a,b']"], "paths", "a,b"),
        (["--config.paths="], "paths", ""),
        (["--config.paths=None"], "paths", "None"),
        (["--config.others=None"], "others", None),
        (["--config.others=a,~root/b"], "others", ("a", os.path.expanduser("~root/b"))),
        (["--config.rates=[1, 2]"], "rates", (1.0, 2.0)),
        (["--config.inner.flag"], "inner", Inner(flag=True)),
        (["--config.inner.flag=f"], "inner", Inner(flag=False)),
        (["--noconfig.inner.flag"], "inner", Inner(flag=False)),
        (["--config.inner.learning_rate=1e-3"], "inner", Inner(1e-3)),
        (["--config.shape.name=square", "--config.shape.side=5"], "shape", Square(5.0)),
    ],
)
def test_flags_are_read_in_the_type_of_their_field(arguments, field, value):
    found = getattr(from_flags(*arguments), field)
    assert found == value
    assert type(found) is type(value)


def test_one_or_several_in_values_and_in_a_config_dict():
    assert parse({"paths": ["a"], "others": ["b", "c"]}).paths == "a"
    assert parse({"others": ["b", "c"]}).others == ("b", "c")
    config = sections.defaults(Outer)
    assert (config.paths, config.others) == ("one", None)
    config.paths, config.others = ["a", "b"], "c"
    read = parse(config.to_dict())
    assert (read.paths, read.others) == (("a", "b"), "c")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config.count=1e20"], "count must be of type int, found '1e20'"),
        (["--config.count=many"], "count must be of type int, found 'many'"),
        (["--config.inner.flag=perhaps"], "inner.flag must be of type bool, found 'perhaps'"),
        (["--config.rates=a"], "rates must be of type float, found 'a'"),
        (["--config.rates=" + "(" * 9999], "rates must be of type float, found '\\(\\(\\("),
        (["--config.inner=3"], "inner must be a section of fields, found '3'"),
        (["--config.inner=3", "--config.inner.flag=t"], "inner is set as a field too, found '3'"),
        (["--config.inner.flag=t", "--config.inner=3"], "inner is a section of fields, found '3'"),
        (["--config.count.x=3"], "count must be of type int, found {'x': '3'}"),
    ],
)
def test_flags_that_mean_nothing_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message) as error:
        from_flags(*arguments)
    assert "\n" not in str(error.value)


def test_other_arguments_are_left():
    assert take_overrides(["--plan", "--config=x", "--config.a=1", "--", "y"]) == (
        {"a": "1"},
        ["--plan", "--config=x", "--", "y"],
    )


def test_suggestions():
    known = ["epochs", "optimizer.learning_rate", "method.dual_learning_rate", "data.train"]
    assert suggestion("epoch", known) == "; did you mean epochs?"
    assert suggestion("learning_rate", known).startswith("; did you mean optimizer.learning_rate")
    assert suggestion("model.train", known) == "; did you mean data.train?"
    assert suggestion("rate", known).count("learning_rate") == 2
    assert suggestion("xyz", known) == ""
