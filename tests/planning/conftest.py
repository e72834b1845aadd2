"""Plans are made of the same small runs as training."""

from tests.training.conftest import few_devices, root

__all__ = ["few_devices", "root"]
