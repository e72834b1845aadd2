"""Every numeric field of every configuration refuses what makes no sense, in a line that names it.

The fields are found by walking the dataclasses, so that a new one is tried too.
"""

import dataclasses
import inspect
import math
import typing
from typing import Any

import pytest

from dignified_jax.objectives import METHODS
from dignified_jax.training import config as training_config
from dignified_jax.training.step.optimizer import OptimizerConfig
from dignified_jax.typed_config import ConfigError, help_text, sections
from dignified_jax.typed_config.bounds import find_bounds

# Other tests register methods of their own.
OWN_METHODS = {
    name: kind for name, kind in METHODS.items() if kind.__module__.startswith("dignified_jax.")
}

WRONG_TYPES = ("many", [[1]], {"a": 1}, b"1")
# Numbers that look odd and mean something.
MEANINGFUL = {
    ("optimizer.clip_norm", math.inf),  # no clipping
    ("method.epsilon", math.inf),  # of Lag-DPO: no constraint
    ("max_steps", 10**9),
}


def plain(hint: Any) -> Any:
    """int, float or another type inside of an optional, bounded or repeated one."""
    while typing.get_origin(hint) is not None and hint is not None:
        if sections.named_classes(hint) is not None:
            return None
        hint = next((a for a in typing.get_args(hint) if a is not type(None)), None)
    return hint


def walk(cls, prefix):
    """(dotted name, type, names of the sections above) of the numeric fields of a class."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint, name = hints[field.name], prefix + field.name
        if classes := sections.named_classes(hint):
            for key, inner in classes.items():
                for found, kind, above in walk(inner, name + "."):
                    yield found, kind, {name + ".name": key, **above}
        elif dataclasses.is_dataclass(hint):
            yield from walk(hint, name + ".")
        elif plain(hint) in (int, float):
            yield name, hint, {}


FIELDS = [("sft", *field) for field in walk(training_config.TrainConfig, "")] + [
    (method, *field) for method, cls in OWN_METHODS.items() for field in walk(cls, "method.")
]


def parse(method, values):
    config: dict[str, Any] = {"method": {"name": method}}
    if OWN_METHODS[method].needs_rewards:
        config["reference"] = "cached"
    for name, value in values.items():
        *above, field = name.split(".")
        section = config
        for key in above:
            section = section.setdefault(key, {})
        section[field] = value
    return training_config.parse(config)


def tried(hint):
    values = [math.nan, -math.inf, math.inf, -1, 10**18, 10**400, *WRONG_TYPES]
    return [*values, -1e-3, 1.5] if plain(hint) is float else [*values, 1.5, 2**63, True]


def is_meant(name, hint, value):
    """Says whether a value is in the bounds of its field, and of its type."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or (plain(hint) is int and isinstance(value, float)) or value == 10**400:
        return False
    bounds = find_bounds(hint)
    return bounds is not None and not bounds.problem(value)


def test_all_fields_are_found():
    names = {name for _, name, _, _ in FIELDS}
    assert {"seed", "batch_size", "optimizer.b2", "lora.alpha", "mesh.fsdp", "method.beta"} <= names
    assert {"method.controller.rate", "method.signal.length", "method.window"} <= names


@pytest.mark.parametrize(
    ("method", "name", "hint", "above"), FIELDS, ids=[f"{m}-{n}" for m, n, _, _ in FIELDS]
)
def test_what_makes_no_sense_is_refused_by_name(method, name, hint, above):
    for value in tried(hint):
        if is_meant(name, hint, value):
            continue
        with pytest.raises(ConfigError) as error:
            parse(method, {**above, name: value})
        said = str(error.value)
        assert said.startswith(name), (value, said)
        assert "\n" not in said and len(said) < 400, (value, said)


@pytest.mark.parametrize(("method", "name"), sorted({(m, n) for m, n, _, _ in FIELDS}))
def test_numbers_have_bounds(method, name):
    hints = [hint for m, n, hint, _ in FIELDS if (m, n) == (method, name)]
    assert all(find_bounds(hint) for hint in hints)
    for hint in hints:
        low, high = find_bounds(hint).ends
        assert low >= 0
        if math.isinf(high) and find_bounds(hint).interval[-1] == "]":
            assert (name, math.inf) in MEANINGFUL
        assert plain(hint) is float or high <= 2**32


@pytest.mark.parametrize("value", [0, 1, 2**32 - 1])
def test_seeds_of_32_bits_are_taken(value):
    assert parse("sft", {"seed": value}).seed == value


@pytest.mark.parametrize("value", [-1, 2**32, 2**63, 10**20])
def test_other_seeds_are_not(value):
    with pytest.raises(ConfigError, match=r"^seed must be at (least 0|most 4294967295), found"):
        parse("sft", {"seed": value})


def test_decays_of_1_in_float32_are_refused():
    """Adam divides by 1 - b**t."""
    for value in (1.0, 1 - 1e-9):
        with pytest.raises(ConfigError, match=r"optimizer.b2 must be at most 0.9999999"):
            OptimizerConfig(b2=value)
    assert OptimizerConfig(b2=0.9999999).b2 < 1


def test_every_field_is_described():
    classes = [training_config.TrainConfig, *OWN_METHODS.values()]
    for cls in classes:
        hints = typing.get_type_hints(cls, include_extras=True)
        classes += [hint for hint in hints.values() if dataclasses.is_dataclass(hint)]
        for hint in hints.values():
            named = (sections.named_classes(hint) or {}).values()
            classes += [kind for kind in named if kind.__module__.startswith("dignified_jax.")]
        described = help_text.descriptions(cls)
        fields = {field.name for field in dataclasses.fields(cls)} - {"method"}
        own = {n for n in fields if not dataclasses.is_dataclass(hints[n])}
        assert own <= set(described), (cls, own - set(described))
        assert inspect.getdoc(cls)


def test_help_describes_every_field():
    """As `--config=NAME --help` prints it, in lines of the width that is asked for."""
    for method in OWN_METHODS:
        values = {"method": {"name": method}}
        page = "\n\n".join(training_config.help_sections(values, 80))
        for name, _, _ in walk(OWN_METHODS[method], "method."):
            assert f"  {name}\n" in page, (method, name)
        for name, _, _ in walk(training_config.TrainConfig, ""):
            assert f"  {name}\n" in page
    assert "whole number, 0 to 4294967295;  default 0\n" in page
    assert "one of error, truncate, drop;  default error\n" in page
    long = [line for line in page.split("\n") if len(line) > 80 and line.startswith("   ")]
    assert long == []
