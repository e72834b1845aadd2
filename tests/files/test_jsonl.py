"""Lines as a kill or a disk leaves them."""

from dignified_jax.files import jsonl


def test_damaged_lines_are_told_and_a_last_one_being_written_is_not(tmp_path):
    file = tmp_path / "a.jsonl"
    lines = [b'{"step": 1}', b'{"step": 2', b"[]", b"\xff\xfe", b'{"other": 3}', b'{"step": 4}']
    file.write_bytes(b"\n".join(lines) + b"\n" + b'{"step": 5, "lo')
    records, damaged = jsonl.read(file, lambda record: "step" in record)
    assert records == [{"step": 1}, {"step": 4}]
    assert [number for number, _ in damaged] == [2, 3, 4, 5]
    assert damaged[0] == (2, '{"step": 2')


def test_what_is_written_and_appended_is_read(tmp_path):
    file = tmp_path / "a.jsonl"
    jsonl.write(file, [{"a": 1}])
    jsonl.append(file, {"b": [2.5, None]})
    assert jsonl.read(file) == ([{"a": 1}, {"b": [2.5, None]}], [])
