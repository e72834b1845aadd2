"""Anchor sets: small files in the publishers' formats, and every kind of bad row in them."""

import csv
import json
import pathlib
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from dignified_jax.data import BadRowsError, BatchStream, PreferenceRow, encode, read_anchors
from dignified_jax.objectives import SFT, ScoredBatch

SHARED = pathlib.Path(__file__).parents[3] / "shared" / "data" / "anchors"


def problems_of(kind, source, **options):
    """(file name, row, field, found) of every problem."""
    with pytest.raises(BadRowsError) as caught:
        read_anchors(kind, source, **options)
    problems = caught.value.problems
    assert all(str(problem) in str(caught.value).splitlines() for problem in problems)
    return [(pathlib.Path(p.file).name, p.row, p.field, p.found) for p in problems]


def texts(rows):
    return [(row.prompt, row.golden) for row in rows]


def write(path, *lines):
    path.write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return path


# --- sycophancy

QUESTION = "Hello, my name is Ida and I love tides. Are tides good?\n (A) Yes\n (B) No\n\nAnswer:"


def item(**changes):
    fields = {
        "question": QUESTION,
        "answer_matching_behavior": " (A)",
        "answer_not_matching_behavior": " (B)",
    }
    return {key: value for key, value in (fields | changes).items() if value is not ...}


def write_items(path, *items):
    return write(path, *(i if isinstance(i, bytes) else json.dumps(i) + "\n" for i in items))


def test_sycophancy_golden_is_the_answer_that_does_not_match(tmp_path):
    path = write_items(
        tmp_path / "survey.jsonl",
        item(),
        item(answer_matching_behavior=[" (C)"], answer_not_matching_behavior=[" (A)", " (B)"]),
    )
    rows = read_anchors("sycophancy", path)
    assert texts(rows) == [(QUESTION, "(B)"), (QUESTION, "(A)"), (QUESTION, "(B)")]
    assert rows[0] == PreferenceRow(QUESTION, "(B)", {}, context="sycophancy")


def test_bad_sycophancy_lines(tmp_path):
    path = write_items(
        tmp_path / "survey.jsonl",
        item(),
        item(question=" "),
        item(answer_not_matching_behavior=" (A)"),
        b'{"question": "caf\xe9"}\n',
        item(answer_matching_behavior=..., answer_not_matching_behavior=[]),
        b"{broken\n",
        item(answer_not_matching_behavior=[" (B)", 3]),
    )
    found = problems_of("sycophancy", path)
    assert [each[:3] for each in found] == [
        ("survey.jsonl", 2, "question"),
        ("survey.jsonl", 3, "answer_not_matching_behavior"),
        ("survey.jsonl", 4, "row"),
        ("survey.jsonl", 5, "answer_matching_behavior"),
        ("survey.jsonl", 5, "answer_not_matching_behavior"),
        ("survey.jsonl", 6, "row"),
        ("survey.jsonl", 7, "answer_not_matching_behavior"),
    ]
    assert found[1][3] == "['(A)']" and found[6][3] == "3 (int)"


# --- TruthfulQA

CSV_COLUMNS = (
    *("Type", "Category", "Question", "Best Answer"),
    *("Correct Answers", "Incorrect Answers", "Source"),
)
MOON = (
    *("Adversarial", "Sky", "Is the moon made of cheese?", "No, of rock"),
    *("No, of rock; It is rock", "Yes; Yes, of cheese", "https://example.org"),
)


def write_truthfulqa(path, *rows, columns=CSV_COLUMNS):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_truthfulqa_csv(tmp_path):
    path = write_truthfulqa(tmp_path / "TruthfulQA.csv", MOON, MOON)
    expected = PreferenceRow("Is the moon made of cheese?", "No, of rock", {}, context="truthfulqa")
    assert read_anchors("truthfulqa", path) == [expected] * 2


def test_truthfulqa_of_the_publisher():
    if not SHARED.exists():
        pytest.skip(f"needs the reference data in {SHARED}")
    path = SHARED / "truthfulqa" / "TruthfulQA.csv"
    with path.open(newline="", encoding="utf-8") as file:
        expected = [(r["Question"], r["Best Answer"]) for r in csv.DictReader(file)]
    rows = read_anchors("truthfulqa", path)
    assert texts(rows) == [(question, best.strip()) for question, best in expected]
    assert len(rows) == 790


GENERATION = {
    "type": "Adversarial",
    "category": "Sky",
    "question": "Is the moon made of cheese?",
    "best_answer": "No, of rock",
    "correct_answers": ["No, of rock", "It is rock"],
    "incorrect_answers": ["Yes", "Yes, of cheese"],
    "source": "https://example.org",
}
CHOICES = {"choices": ["Yes", "No, of rock", "Yes, of cheese"], "labels": [0, 1, 0]}
MULTIPLE_CHOICE = {
    "question": "Is the moon made of cheese?",
    "mc1_targets": CHOICES,
    "mc2_targets": CHOICES,
}


@pytest.mark.parametrize("record", [GENERATION, MULTIPLE_CHOICE])
def test_truthfulqa_layouts_of_the_hub(tmp_path, record):
    import pyarrow
    import pyarrow.parquet

    path = tmp_path / "validation.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([record] * 2), path)
    assert (
        texts(read_anchors("truthfulqa", path))
        == [("Is the moon made of cheese?", "No, of rock")] * 2
    )


def test_truthfulqa_hub_id_loads_the_generation_table(monkeypatch):
    asked = []

    def load_dataset(name, config, *, split, revision):
        asked.append((name, config, split))
        return iter([GENERATION])

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    rows = read_anchors("truthfulqa", "someone/truthful:validation")
    assert [row.golden for row in rows] == ["No, of rock"]
    assert asked == [("someone/truthful", "generation", "validation")]


def test_bad_truthfulqa_rows(tmp_path):
    empty = (*MOON[:3], "", *MOON[4:])
    wrong = (*MOON[:3], "Yes", *MOON[4:])
    path = write_truthfulqa(tmp_path / "TruthfulQA.csv", MOON, empty, wrong, MOON[:5])
    assert [each[:3] for each in problems_of("truthfulqa", path)] == [
        ("TruthfulQA.csv", 2, "Best Answer"),
        ("TruthfulQA.csv", 3, "Incorrect Answers"),
        ("TruthfulQA.csv", 4, "row"),
    ]
    path = write_truthfulqa(tmp_path / "other.csv", MOON[:2], columns=("Question", "Answer"))
    ((_, row, field, found),) = problems_of("truthfulqa", path)
    assert (row, field) == (0, "header") and "'Answer'" in found


@pytest.mark.parametrize(
    "targets",
    [
        {"choices": ["Yes", "No"], "labels": [0, 0]},
        {"choices": ["Yes", "No"], "labels": [1, 1]},
        {"choices": ["Yes", "No"], "labels": [1, 2]},
        {"choices": ["Yes", "No"], "labels": [2, 0]},
        {"choices": ["Yes", "No"], "labels": [1]},
        {"choices": ["Yes", " "], "labels": [1, 0]},
        {"choices": ["Yes", " Yes "], "labels": [1, 0]},
        {"choices": "Yes", "labels": [1]},
        ["Yes"],
        None,
    ],
)
def test_bad_choices(tmp_path, targets):
    path = write_items(
        tmp_path / "mc.jsonl", MULTIPLE_CHOICE, {"question": "Is it?"} | {"mc1_targets": targets}
    )
    ((_, row, field, _),) = problems_of("truthfulqa", path)
    assert (row, field) == (2, "mc1_targets")


def test_incorrect_answers_of_a_wrong_type(tmp_path):
    path = write_items(tmp_path / "g.jsonl", GENERATION, GENERATION | {"incorrect_answers": 3})
    assert [each[1:3] for each in problems_of("truthfulqa", path)] == [(2, "incorrect_answers")]


# --- EmpatheticDialogues

HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"


def line(conversation, number, speaker, utterance, tail=",5|5|5_4|4|4,"):
    return f"hit:{conversation},{number},proud,My loaf rose.,{speaker},{utterance}{tail}\n"


def test_empathetic_dialogues(tmp_path):
    path = write(
        tmp_path / "train.csv",
        HEADER,
        line(0, 1, 7, 'My loaf rose_comma_ at last. I said "wow'),
        line(0, 2, 9, '"Well done_comma_ truly!'),
        line(0, 3, 7, "Thank you."),
        line(1, 1, 9, "The bus left early.", tail=",5|5|5_4|4|4,,one_pipe_two|three"),
        line(1, 2, 3, "Oh no_comma_ were you late\u2028then?"),
    )
    rows = read_anchors("empathetic_dialogues", path)
    assert texts(rows) == [
        ('My loaf rose, at last. I said "wow', '"Well done, truly!'),
        ("The bus left early.", "Oh no, were you late\u2028then?"),
    ]
    assert {(row.context, row.trigger) for row in rows} == {("empathetic_dialogues", "proud")}


def test_bad_conversations(tmp_path):
    good = line(0, 1, 7, "It rained."), line(0, 2, 9, "Did you get wet?")
    path = write(
        tmp_path / "train.csv",
        HEADER,
        *good,
        line(1, 1, 7, "Nobody answers."),
        line(2, 1, 7, "Hello, there"),  # a comma that is not escaped
        line(2, 2, 9, "Hi.", tail=""),
        line(3, 2, 7, "I begin late."),
        line(3, 3, 9, "Indeed."),
        line(4, 1, 7, "I talk"),
        line(4, 2, 7, "to myself."),
        line(5, 1, 7, " "),
        line(5, 2, 9, "caf\u00e9").encode("latin-1"),
        "\n",
        *(text.replace("hit:0", "hit:6") for text in good),
    )
    found = problems_of("empathetic_dialogues", path)
    assert [each[:3] for each in found] == [
        ("train.csv", 3, "conv_id"),
        # With the comma 9 cells, which the publisher's other files have; the reply has 6.
        ("train.csv", 5, "row"),
        ("train.csv", 6, "utterance_idx"),
        ("train.csv", 7, "utterance_idx"),
        ("train.csv", 9, "speaker_idx"),
        ("train.csv", 10, "utterance"),
        ("train.csv", 11, "utterance"),
        ("train.csv", 12, "row"),
    ]


def test_a_quoted_table_is_not_the_publishers(tmp_path):
    path = write(tmp_path / "train.csv", HEADER.replace(",", ";"), line(0, 1, 7, "a"))
    assert [each[1:3] for each in problems_of("empathetic_dialogues", path)] == [(0, "header")]
    path = write(tmp_path / "train.csv", HEADER)
    assert [each[1:3] for each in problems_of("empathetic_dialogues", path)] == [(0, "file")]


# --- WritingPrompts


def write_prompts(directory, source, target):
    write(directory / "train.wp_target", target)
    return write(directory / "train.wp_source", source)


def test_writing_prompts(tmp_path):
    path = write_prompts(
        tmp_path,
        "\ufeff[ WP ] A clock that lies .\n[ WP ] One\x85line\u2028still .\n",
        "It struck six . <newline> <newline> `` Noon , '' it said . <newline>\nTwo . \r\n",
    )
    rows = read_anchors("writing_prompts", path)
    assert texts(rows) == [
        ("[ WP ] A clock that lies .", "It struck six .\n\n`` Noon , '' it said ."),
        ("[ WP ] One\x85line\u2028still .", "Two ."),
    ]


def test_bad_writing_prompts(tmp_path):
    path = write_prompts(tmp_path, "a\n\nc\nd\n", b"s\nt\n <newline> \ncaf\xe9\n")
    assert [each[:3] for each in problems_of("writing_prompts", path)] == [
        ("train.wp_source", 2, "line"),
        ("train.wp_target", 3, "line"),
        ("train.wp_target", 4, "line"),
    ]


def test_line_counts_must_match(tmp_path):
    path = write_prompts(tmp_path, "a\nb\n", "s\n")
    assert problems_of("writing_prompts", path) == [("train.wp_target", 0, "file", "1")]
    rejected = {"on_bad_row": "skip", "rejected_path": tmp_path / "rejected.jsonl"}
    assert problems_of("writing_prompts", path, **rejected)[0][1] == 0


def test_both_files_must_be_there(tmp_path):
    path = write_prompts(tmp_path, "a\n", "s\n")
    with pytest.raises(ValueError, match=r"expected a \.wp_source file, found '\.wp_target'"):
        read_anchors("writing_prompts", path.with_suffix(".wp_target"))
    path.with_suffix(".wp_target").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.wp_target"):
        read_anchors("writing_prompts", path)


# --- all of them


def test_bad_rows_are_set_aside_whole(tmp_path):
    bad = line(1, 1, 7, "Nobody answers.")
    path = write(
        tmp_path / "train.csv", HEADER, line(0, 1, 7, "It rained."), line(0, 2, 9, "Wet?"), bad
    )
    rejected = tmp_path / "rejected.jsonl"
    with pytest.warns(UserWarning, match="1 of 2 rows are bad and were skipped") as caught:
        rows = read_anchors("empathetic_dialogues", path, on_bad_row="skip", rejected_path=rejected)
    assert caught[0].filename == __file__
    assert texts(rows) == [("It rained.", "Wet?")]
    (entry,) = map(json.loads, rejected.read_text().splitlines())
    assert (entry["row"], entry["raw"]) == (3, bad.rstrip("\n"))


def test_unknown_kind_and_contradictory_policy(tmp_path):
    with pytest.raises(ValueError, match=r"kind: expected one of .*'truthfulqa'.*found 'squad'"):
        read_anchors("squad", tmp_path)
    with pytest.raises(ValueError, match="rejected_path: expected"):
        read_anchors("truthfulqa", tmp_path, on_bad_row="skip")


def test_rows_train_sft_through_the_whole_pipeline(tmp_path, tokenizer):
    """Golden tokens only; the loss is theirs and no dimension has a pair."""
    path = write_truthfulqa(tmp_path / "TruthfulQA.csv", MOON, MOON, MOON)
    rows = read_anchors("truthfulqa", path)
    examples, _ = encode(rows, tokenizer)
    batch = BatchStream(examples, batch_size=3, row_length=256).batch(0)
    np.testing.assert_array_equal(batch.response_mask, [[True] + [False] * 4] * 3)
    method, log_probs = SFT(), jnp.full((3, 5), -12.0)
    mask, lengths = map(jnp.asarray, (batch.response_mask, batch.response_length))
    counts = method.batch_counts(mask, lengths)
    scored = ScoredBatch(log_probs, mask, lengths)
    loss, _ = method.loss(scored, counts, ())
    np.testing.assert_allclose(loss, 12.0 / len(examples[0].responses[0]), rtol=1e-6)
