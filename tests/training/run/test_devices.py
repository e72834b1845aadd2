"""Kinds of devices by name."""

import types

import jax
import jax.numpy as jnp
import pytest

from dignified_jax.objectives import METHODS
from dignified_jax.training.run import devices


def test_names_give_kind_memory_attention_and_number():
    v5p, count = devices.parse("8xv5p")
    assert (v5p.kind, v5p.memory, v5p.attention, count) == ("TPU v5p", 95 * 10**9, "splash", 8)
    assert devices.parse("h200") == (devices.DEVICES["h200"], 1)
    assert devices.parse("4xtpu7x") == (devices.DEVICES["tpu7x"], 4)


def test_every_kind_has_a_peak():
    assert all(device.peak_flops("bfloat16") for device in devices.DEVICES.values())
    assert devices.DEVICES["v5e"].peak_flops("bfloat16") == 197e12
    assert devices.parse("cpu")[0].peak_flops("float32") is None


def test_devices_of_a_cpu_share_the_hosts_memory():
    (one, _), (quarter, count) = devices.parse("cpu"), devices.parse("4xcpu")
    assert (one.attention, count) == ("blocks", 4)
    assert one.memory // 4 == quarter.memory > 10**8
    assert devices.present()[1] == jax.device_count()


@pytest.mark.parametrize(
    "wrong", ["h300", "0xh200", "x", "", "8x", "-1xh200", "8 h200", "1.5xcpu", f"{10**9}xcpu"]
)
def test_what_is_no_device_is_refused_with_those_that_are(wrong):
    with pytest.raises(
        ValueError, match=r"such as 8xh200, of v4, v5e, .*, cpu, at most 131,072; found"
    ):
        devices.parse(wrong)


@pytest.mark.parametrize(("platform", "attention"), [("gpu", "cudnn"), ("tpu", "splash")])
def test_accelerators_here_say_how_much_memory_they_have(platform, attention, monkeypatch):
    found = types.SimpleNamespace(
        platform=platform, device_kind="Some kind", memory_stats=lambda: {"bytes_limit": 12345}
    )
    monkeypatch.setattr(jax, "devices", lambda: [found] * 3)
    assert devices.present() == (devices.Device("Some kind", 12345, attention), 3)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AssertionError(), "JAX has no plugin for it"),
        (RuntimeError("Unable\nto start (set JAX_PLATFORMS='' to choose)"), "Unable to start"),
    ],
)
def test_no_such_device_is_told_in_a_line(error, reason, monkeypatch):
    def fail():
        raise error

    monkeypatch.setattr(jax, "devices", fail)
    message = f"JAX_PLATFORMS=cpu: no such device can be used: {reason}; without"
    for look in (devices.find, devices.present):
        with pytest.raises(ValueError, match=message):
            look()


def test_hyperparameters_are_checked_without_a_device(monkeypatch):
    made = []

    def init(self, dimensions):
        made.append(jnp.zeros(dimensions))
        return made[-1]

    monkeypatch.setattr(METHODS["lagdpo"], "init", init)
    METHODS["lagdpo"]().check(("A", "T"))
    assert isinstance(made[0], jax.core.Tracer)
