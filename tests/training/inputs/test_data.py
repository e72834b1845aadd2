"""What a run's data depend on besides its files: the day of its start, and whose rows they are."""

import datetime
import json

from dignified_jax.data.tokenizer import load_tokenizer
from dignified_jax.embedded import resolve
from dignified_jax.training.config import DataConfig
from dignified_jax.training.inputs import text_encoder


def test_templates_are_told_the_day_of_the_first_start(tmp_path):
    today = datetime.date.today()
    assert text_encoder.template_date(tmp_path).date() == today
    (tmp_path / "inputs.json").write_text(json.dumps({"template date": "2024-07-26"}))
    assert text_encoder.template_date(tmp_path).date() == today  # nothing has begun
    for name in ("config.json", "metrics.jsonl"):
        (tmp_path / name).write_text("{}")
    assert text_encoder.template_date(tmp_path) == datetime.datetime(2024, 7, 26)


def test_published_test_rows_are_of_their_training_rows_only():
    embedded = "embedded:personaknob_mini/test.jsonl"
    hub = DataConfig(train="qisein/PersonaKnob:train")
    assert (DataConfig().test_source, hub.test_source) == (embedded, "qisein/PersonaKnob:test")
    pinned = [DataConfig(train=f"qisein/PersonaKnob@v1{s}").test_source for s in ("", ":train")]
    assert pinned == ["qisein/PersonaKnob@v1:test"] * 2
    for other in ("me/PersonaKnob@v1", "@rows.jsonl"):
        assert DataConfig(train=other).test_source is None
    asked = DataConfig(train="mine.jsonl", test=embedded)  # as any other that is given
    assert asked.test_rows == f"rows of {embedded}"
    own = DataConfig(train="mine.jsonl")
    assert own.test_source is None and own.test_rows == "validation rows of mine.jsonl"
    several = DataConfig(train=("a.jsonl", "b.jsonl"))
    assert several.test_source is None
    assert several.test_rows == "validation rows of a.jsonl and b.jsonl"
    both = DataConfig(train="mine.jsonl", test="theirs.jsonl")
    assert both.test_rows == "rows of theirs.jsonl"


def test_byte_order_mark_is_no_part_of_a_template(tmp_path):
    file = tmp_path / "chat.jinja"
    file.write_bytes(b"\xef\xbb\xbf{{ messages[0].content }}")
    tokenizer = load_tokenizer(resolve("embedded:tiny-qwen3"), file)
    assert tokenizer.chat_template == "{{ messages[0].content }}"
