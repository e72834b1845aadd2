"""Runs over sets of dimensions other than the default: every method, from rows to the tables."""

import dataclasses
import json

import numpy as np
import pytest

from dignified_jax import data
from dignified_jax.comparison import plan, policy_scores, results
from dignified_jax.comparison import report as comparison_report
from dignified_jax.objectives import SACPO, SFT, MultiNegativeDPO, SafeRLHF
from dignified_jax.training import config as training_config
from dignified_jax.training import stages
from dignified_jax.training.config import ConfigError
from tests.oracles import tiny_run

pytestmark = pytest.mark.wiring

DEVICES = 1
LONG = ("anti_sycophancy", "trust-worthiness", "empathy")
SIXTEEN = tuple(f"dimension_{number}" for number in range(16))
SETS = {"one": ("helpful",), "long": LONG, "sixteen": SIXTEEN}
GROUPS = {"one": (), "long": ("Warm:empathy",), "sixteen": ("Some:dimension_3+dimension_0",)}
FIRST = {"one": "helpful", "long": "Warm", "sixteen": "Some"}
METHODS = ("lagdpo", "multi_negative", "pcgrad", "safe_rlhf", "sacpo", "soup", "modpo", "sft")
# The others take minutes together.
FAST = {("long", "lagdpo")}


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    """Model and rows of each set; every dimension has a row of its own and one with all."""
    found = {}
    for name, dimensions in SETS.items():
        root = found[name] = tmp_path_factory.mktemp(name)
        tiny_run.write_model(root / "model")
        masks = [dimensions, *((dimension,) for dimension in dimensions)]
        tiny_run.write_rows(root / "train.jsonl", tiny_run.records(masks * 2))
        tiny_run.write_rows(root / "test.jsonl", tiny_run.records(masks))
    return found


def config_of(roots, name, method, workdir, **changes):
    whole = training_config.config_dict(method)
    whole.workdir, whole.max_steps, whole.batch_size = str(workdir), 2, 4
    whole.model.path = str(roots[name] / "model")
    whole.model.compute_dtype, whole.model.remat = "float32", "none"
    whole.data.train = str(roots[name] / "train.jsonl")
    whole.data.test = str(roots[name] / "test.jsonl")
    whole.data.dimensions, whole.data.groups = SETS[name], GROUPS[name]
    whole.data.row_length, whole.data.validation_fraction = 512, 0.2
    if method == "modpo":
        whole.reference = "cached"
    if method == "safe_rlhf":
        whole.method.constrained = (FIRST[name],)
    if method == "sacpo":
        rest = [d for d in SETS[name] if d not in ("empathy", "dimension_0", "dimension_3")]
        whole.method.groups = (FIRST[name],) if name == "one" else (FIRST[name], "+".join(rest))
    for key, value in changes.items():
        whole[key] = value
    return training_config.parse(whole)


CASES = [
    pytest.param(
        *(name, method),
        marks=[] if (name, method) in FAST else [pytest.mark.slow],
    )
    for name in SETS
    for method in METHODS
    if (name, method) != ("one", "safe_rlhf")
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_every_method_reports_every_dimension(roots, name, method, tmp_path, capsys):
    config = config_of(roots, name, method, tmp_path / "run")
    summary = stages.run(config)
    dimensions = SETS[name]
    assert tuple(summary["dimensions"]) == dimensions
    assert [row["pairs"] for row in summary["dimensions"].values()] == [2] * len(dimensions)
    assert all(np.isfinite(row["loss"]) for row in summary["dimensions"].values())
    assert summary["worst"] in dimensions
    shown = capsys.readouterr().out
    table = shown[shown.rindex("held-out rows of") :]
    for dimension in dimensions:
        assert f"\n{dimension} " in table
    if method in ("sacpo", "soup"):
        assert (tmp_path / "run" / "stages").is_dir()
    else:
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        logged = set().union(*map(json.loads, lines))
        assert logged >= {f"pairs/{d}" for d in dimensions} | {
            f"eval/pairs/{d}" for d in dimensions
        }


def test_one_dimension_has_nothing_to_constrain(roots, tmp_path):
    with pytest.raises(ConfigError, match=r"method\.constrained needs a True .* and a False"):
        config_of(roots, "one", "safe_rlhf", tmp_path)


def test_groups_are_resolved_by_the_configuration(roots, tmp_path):
    assert config_of(roots, "long", "safe_rlhf", tmp_path).method.constrained == (
        *(False, False, True),
    )
    sacpo = config_of(roots, "sixteen", "sacpo", tmp_path).method
    assert sacpo.groups[0] == "dimension_0+dimension_3"
    first, second = sacpo.stages(SIXTEEN)
    assert first.name == "1_dimension_0+dimension_3"
    assert [i for i, weight in enumerate(first.objective.weights) if weight] == [0, 3]
    assert sum(second.objective.weights) == 14


def test_groups_of_the_default_set_and_letters():
    config = training_config.config_dict("safe_rlhf")
    config.method.constrained = ("Dignity",)
    assert training_config.parse(config).method == SafeRLHF()
    config = training_config.config_dict("sacpo")
    assert training_config.parse(config).method == SACPO()
    config.method.groups = ("Peer", "Dignity")
    stages_of = training_config.parse(config).method.stages(data.DIMENSIONS)
    assert [s.objective for s in stages_of] == [
        s.objective for s in SACPO().stages(data.DIMENSIONS)
    ]


@pytest.mark.parametrize(
    ("method", "field", "value", "message"),
    [
        (
            "safe_rlhf",
            "constrained",
            ("Peace",),
            "constrained: expected distinct names out of Peer",
        ),
        ("safe_rlhf", "constrained", (True, "Peer"), "constrained needs a True"),
        ("safe_rlhf", "constrained", ("A+T", "Peer"), "needs a True"),  # all of them
        ("sacpo", "groups", ("Peer", "A+X"), r"groups: expected letters of ATEC, found \['X'\]"),
        ("sacpo", "groups", ("Peer", "EA"), "without repetition"),
    ],
)
def test_names_that_do_not_fit_are_refused(method, field, value, message):
    config = training_config.config_dict(method)
    config.method[field] = value
    with pytest.raises(ConfigError, match=rf"^method\..*{message}"):
        training_config.parse(config)


def test_per_dimension_fields_have_an_entry_for_each(roots, tmp_path):
    config = training_config.config_dict("lagdpo")
    config.data.dimensions = LONG
    config.method.epsilon = (0.1, 0.2, 0.3, 0.4)
    with pytest.raises(ConfigError, match="epsilon needs 1 or 3 entries"):
        training_config.parse(config)


@pytest.mark.slow
def test_the_order_of_dimensions_does_not_change_what_is_learned(roots, tmp_path):
    """The mean of the losses is the same; only the order of sums differs."""
    tables = []
    for dimensions in (LONG, LONG[::-1]):
        config = config_of(roots, "long", "multi_negative", tmp_path / dimensions[0])
        changed = dataclasses.replace(config.data, dimensions=dimensions)
        tables.append(stages.run(dataclasses.replace(config, data=changed))["dimensions"])
    for dimension in LONG:
        assert tables[0][dimension]["loss"] == pytest.approx(tables[1][dimension]["loss"], rel=1e-4)


@pytest.mark.slow
def test_comparison_of_sixteen(roots, tmp_path):
    """From an export to the report: scores, groups, the worst by name."""
    config = config_of(roots, "sixteen", "sft", tmp_path / "run")
    assert isinstance(config.method, SFT)
    stages.run(config)
    scorer = policy_scores.make_scorer(
        dataclasses.replace(config, method=MultiNegativeDPO(), workdir=str(tmp_path / "judge"))
    )
    score = policy_scores.score(scorer, tmp_path / "run" / "export")
    assert tuple(score["dimensions"]) == SIXTEEN
    groups = config.data.named_groups
    assert groups == {"Some": ("dimension_0", "dimension_3")}
    found = results.summarise([results.ScoredRun("sft", 0, score)], "sft", groups)
    assert found.worst["sft"][0] in SIXTEEN
    two = [score["dimensions"][d]["accuracy"] for d in ("dimension_0", "dimension_3")]
    assert found.means["sft"]["accuracy/Some"].mean == np.mean(two)
    base = training_config.config_dict("sft")
    comparison = plan.parse(plan.config_dict(base, {"sft": base}))
    text = comparison_report._by_dimension(found, "accuracy", ("worst_accuracy", "worst"))
    assert text.splitlines()[0].split("|")[2:-2] and "dimension_15" in text and "Some" in text
    assert comparison.methods == ("sft",)
