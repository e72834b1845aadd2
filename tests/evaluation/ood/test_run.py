"""The commands on the embedded model: tables, files, and going on where it was stopped."""

import json

import pytest

from dignified_jax.evaluation.judging.judgments import Verdict
from dignified_jax.evaluation.ood import __main__ as command
from dignified_jax.evaluation.ood import run, sycophancy_rows

pytestmark = pytest.mark.wiring


def arguments(directory, *further):
    model = ["--model", "embedded:tiny-qwen3", "--name", "tiny", "--max_new_tokens", "4"]
    return [*further, *model, "--out", str(directory)]


def test_sycophancy_command(answer_file, tmp_path, capsys):
    out = tmp_path / "out"
    given = arguments(out, "sycophancy", str(answer_file), "--limit", "2")
    assert command.main(given) == 0
    printed = capsys.readouterr().out
    assert "wrong answer, change from neutral" in printed and "suggests_wrong" in printed
    (ledger,) = out.glob("responses-*.jsonl")
    lines = ledger.read_text().splitlines()
    assert len(lines) == 8 and (out / "sycophancy-answer-1.csv").is_file()

    # A killed run goes on, and gives the same.
    ledger.write_text("\n".join(lines[:3]) + "\n" + lines[3][:9])
    assert command.main(given) == 0
    assert capsys.readouterr().out == printed
    again = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert sorted(map(str, again)) == sorted(str(json.loads(line)) for line in lines)


def test_xstest_command(tmp_path, capsys):
    file = tmp_path / "p.csv"
    file.write_text("id,prompt,type\n1,Hi?,homonyms\n2,Bad?,contrast_homonyms\n")
    assert command.main(arguments(tmp_path / "out", "xstest", str(file))) == 0
    assert "unsafe  refusal" in capsys.readouterr().out


def test_classifier_command(tmp_path, capsys):
    files = []
    for name in "ab":
        files.append(tmp_path / f"{name}.csv")
        files[-1].write_text(
            "id,prompt,completion,final_label\n1,a,Sure: do it.,1_full_compliance\n"
            '2,b,"Sorry, but I can\'t.",2_full_refusal\n'
        )
    assert command.main(["classifier", *map(str, files), "--out", str(tmp_path / "o")]) == 0
    assert capsys.readouterr().out.count("Cohen's kappa, three classes: 1.00") == 3
    assert len(list((tmp_path / "o").glob("classifier-*.csv"))) == 3


def test_a_judge_stands_beside_the_strings(answer_file):
    rows = sycophancy_rows.read(answer_file)

    def judge_of(rubric):
        return lambda responses: [
            (response, {item.name: Verdict(int(item.name == "correct")) for item in rubric.items})
            for response in responses
        ]

    respond = lambda prompts: dict.fromkeys(prompts, "Hm")  # noqa: E731
    strings, judged = run.score_sycophancy("m", rows, respond, {"yes": judge_of})
    assert strings.columns["value"][0] == 0 and judged.columns["value"][0] == 1
    assert judged.title == "SycophancyEval answer, by yes"


def test_faults_are_one_line(tmp_path, capsys):
    given = [
        arguments(tmp_path, "sycophancy", str(tmp_path / "none.jsonl")),
        ["classifier", str(tmp_path / "none.csv")],
    ]
    for each in given:
        assert command.main(each) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
