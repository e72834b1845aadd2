"""The roofline and the paper's run by hand numbers; programs for TPUs are compiled by hand only."""

import re

import pytest

from benchmarks import scaling
from benchmarks.gpu.sizes import GEOMETRIES
from benchmarks.memory import plan_of
from dignified_jax.planning.plan import parameters


@pytest.fixture(scope="module")
def plan():
    return plan_of(GEOMETRIES["tiny"], "4xv5e", 4)


def test_the_longest_time_bounds_a_step(plan):
    moved = 6 * parameters(plan.model) + 24 * parameters(plan.model) / 4
    compute = (plan.useful_flops + plan.forward_flops) / 4 / 197e12
    seconds, bound, mfu = scaling.roofline(plan, 0.0, "v5e")
    assert bound == "compute" and seconds == pytest.approx(max(compute, moved / 819e9))
    assert mfu == pytest.approx(plan.useful_flops / 4 / 197e12 / seconds)
    seconds, bound, mfu = scaling.roofline(plan, 1e9, "v5e")  # at half of 1,600 Gbit/s
    assert (bound, seconds) == ("interconnect", pytest.approx(0.01))


def test_the_papers_run_costs_what_its_flops_take(capsys):
    scaling.main(["--paper", "--models", "qwen3-4b", "--dollars", "h100=6", "v5e=2.4"])
    first = capsys.readouterr().out.splitlines()[-1]
    minutes = [int(n) for n in re.findall(r"(\d+) min", first)]
    dollars = [float(n) for n in re.findall(r"\$([\d.]+)", first)]
    # 6 FLOPs a token and weight at least, of some 1,690 tokens an example.
    least = 6 * 4.0e9 * 1690 * 1331 * 3 / (0.4 * 989.4e12) / 60
    assert least < minutes[0] < 1.5 * least
    assert dollars[0] == pytest.approx(6 * minutes[0] / 60, abs=0.06)
    with pytest.raises(SystemExit):
        scaling.main(["--dollars", "abacus=1"])
    with pytest.raises(SystemExit):
        scaling.main(["--topologies", "h100:2x2"])
