"""Lag-DPO's sections as config.json had them before: one flat row of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "dual_controller": "controller.name",
    "dual_learning_rate": "controller.rate",
    "nupi_proportional": "controller.proportional",
    "nupi_integral": "controller.integral",
    "nupi_smoothing": "controller.smoothing",
    "dual_signal": "signal.name",
    "ema_decay": "signal.decay",
    "dual_window": "signal.length",
    "epsilon_schedule": "schedule.name",
    "epsilon_final": "schedule.final",
    "epsilon_steps": "schedule.steps",
}
"""Former key -> today's. The augmented Lagrangian's rate is `controller.penalty`."""

# Written as None, these stood for the values of that time.
_DEFAULTS = {
    "nupi": {"proportional": 1.0, "integral": 1.0, "smoothing": 0.9},
    "ema": {"decay": 0.9},
    "window": {"length": 10},
}


def upgraded(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the fields of a method section with former keys in their sections."""
    kept = {key: value for key, value in fields.items() if key not in RENAMED}
    for old in ("dual_controller", "dual_signal", "epsilon_schedule"):
        if old in fields:
            section = RENAMED[old].split(".")[0]
            kept[section] = {"name": fields[old], **_DEFAULTS.get(fields[old], {})}
    for old, new in RENAMED.items():
        section, key = new.split(".")
        value = fields.get(old)
        if key == "name" or value is None or value == [] or section not in kept:
            continue
        if old == "dual_learning_rate" and fields.get("dual_controller") == "augmented":
            key = "penalty"
        kept[section][key] = value
    return kept
