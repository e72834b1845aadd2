"""Devices by short name: what JAX calls them, how much memory they have, who computes on them."""

from __future__ import annotations

import dataclasses
import os
import re

import jax

from dignified_jax.models.attention.dispatch import Computation
from dignified_jax.training.step import flops


@dataclasses.dataclass(frozen=True)
class Device:
    """A kind of JAX device.

    Attributes:
      kind: the start of its `device_kind`, for `flops.peak_flops`.
      memory: bytes of one device.
      attention: what `Decoder(attention="auto")` becomes there with bfloat16.
    """

    kind: str
    memory: int
    attention: Computation

    def peak_flops(self, dtype: str) -> float | None:
        """Dense FLOP/s for products in `dtype`; None where it is not known."""
        return flops.peak_flops(self.kind, dtype)


def _tpu(kind: str, gigabytes: int) -> Device:
    return Device(kind, gigabytes * 10**9, "splash")


def _gpu(kind: str, gigabytes: int) -> Device:
    return Device(kind, gigabytes * 10**9, "cudnn")


# Memory as vendors give it, a GB taken as 1e9 bytes, the least that it can mean.
# TPU: cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e,tpu7x}, per chip; half a chip's for TPU7x, whose
#   two cores are a JAX device each.
# GPU: NVIDIA's data sheets.
DEVICES: dict[str, Device] = {
    "v4": _tpu("TPU v4", 32),
    "v5e": _tpu("TPU v5e", 16),
    "v5p": _tpu("TPU v5p", 95),
    "v6e": _tpu("TPU v6e", 32),
    "tpu7x": _tpu("TPU7x", 96),
    "a100-40g": _gpu("NVIDIA A100", 40),
    "a100-80g": _gpu("NVIDIA A100", 80),
    "h100": _gpu("NVIDIA H100", 80),
    "h200": _gpu("NVIDIA H200", 141),
    "b200": _gpu("NVIDIA B200", 180),
}
CPU = "cpu"
MOST_DEVICES = 2**17  # more than any machine has; planning takes longer with their number


def parse(text: str) -> tuple[Device, int]:
    """Kind and number of devices from "8xh200" or "h200".

    Raises:
      ValueError: not of that form, or an unknown name.
    """
    match = re.fullmatch(r"(?:(\d+)x)?(.+)", text)
    count, name = (int(match[1] or 1), match[2]) if match else (0, "")
    if not 1 <= count <= MOST_DEVICES or name not in (*DEVICES, CPU):
        raise ValueError(
            f"expected a device, or NUMBERxDEVICE such as 8xh200, of "
            f"{', '.join([*DEVICES, CPU])}, at most {MOST_DEVICES:,}; found {text!r:.60}"
        )
    return (_host(count) if name == CPU else DEVICES[name]), count


def find() -> list[jax.Device]:
    """Returns JAX's devices.

    Raises:
      ValueError: there is none of the kind that JAX is told to take, or it does not start.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter, bare, without a plugin
        line = " ".join(str(error).partition(" (set JAX_PLATFORMS")[0].split())[:300].rstrip(".")
        reason = line or "JAX has no plugin for it"
        raise ValueError(
            f"JAX_PLATFORMS={jax.config.jax_platforms or ''}: no such device can be used: "
            f"{reason}; without this variable JAX takes what is there"
        ) from error


def present() -> tuple[Device, int]:
    """Kind and number of the devices that JAX finds.

    Raises:
      ValueError: as `find`.
    """
    found = find()
    if found[0].platform == "cpu":
        return _host(len(found)), len(found)
    memory = found[0].memory_stats()["bytes_limit"]
    attention = "splash" if found[0].platform == "tpu" else "cudnn"
    return Device(found[0].device_kind, memory, attention), len(found)


def _host(count: int) -> Device:
    """One of `count` devices that share this host's CPU and memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Device(CPU, memory // count, "blocks")


def cpu_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
