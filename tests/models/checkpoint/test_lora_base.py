"""The record of a LoRA run's base, as a disk or an editor may leave it."""

import pytest

from dignified_jax.models.checkpoint import lora_base
from dignified_jax.training.run.checkpoint import CheckpointError


@pytest.mark.parametrize(
    "text", ["[]", "{}", "{", "[" * 100_000, '{"lora": 3}', '{"lora": {"targets": 3}, "base": "b"}']
)
def test_damaged_records_are_named_in_a_line(tmp_path, text):
    (tmp_path / lora_base.FILE).write_text(text)
    with pytest.raises(CheckpointError, match=r"lora\.json: expected rank, scale") as caught:
        lora_base.read(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
