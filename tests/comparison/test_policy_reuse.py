"""MODPO takes the single-dimension policies that a soup has trained."""

import dataclasses

import pytest

from dignified_jax.comparison import plan
from dignified_jax.comparison.policy_reuse import share_policies

pytestmark = pytest.mark.wiring


def planned(get_config, methods, **changes):
    config = get_config()
    config.workdir = "w"
    config.methods = methods
    config.against = methods[0]
    config.seeds = (3, 5)
    for name, value in changes.items():
        section, field = name.split("__")
        config.entries[section].method[field] = value
    return plan.runs(plan.parse(config))


def policies(runs):
    return {r.label: r.config.reward_policies for r in runs if r.name == "modpo"}


def test_modpo_has_the_policies_of_the_soup_of_its_seed(get_config):
    runs = planned(get_config, ("soup", "modpo", "lagdpo"))
    shared = share_policies(runs)
    assert policies(shared) == {
        f"modpo seed {seed}": tuple(
            f"w/runs/soup/seed_{seed}/stages/{dimension}/export" for dimension in "ATEC"
        )
        for seed in (3, 5)
    }
    for before, after in zip(runs, shared, strict=True):
        same = dataclasses.replace(after.config, reward_policies=())
        assert dataclasses.replace(after, config=same) == before


def test_modpo_trains_its_own_without_a_soup_of_its_kind_before_it(get_config):
    for runs in (
        planned(get_config, ("lagdpo", "modpo")),
        planned(get_config, ("modpo", "soup")),
        planned(get_config, ("soup", "modpo"), soup__beta=0.2),
        planned(get_config, ("soup", "modpo"), soup__weights=(1.0, 1.0, 0.0, 1.0)),
    ):
        assert share_policies(runs) == runs


def test_another_learning_rate_is_another_policy(get_config):
    runs = planned(get_config, ("soup", "modpo"))
    rate = dataclasses.replace(runs[0].config.optimizer, learning_rate=0.5)
    other = dataclasses.replace(runs[0], config=dataclasses.replace(runs[0].config, optimizer=rate))
    assert share_policies((other, *runs[1:]))[1] == runs[1]


def test_given_policies_stay(get_config):
    soup, modpo, *_ = planned(get_config, ("soup", "modpo"))
    own = dataclasses.replace(modpo.config, reward_policies=("a", "t", "e", "c"))
    run = dataclasses.replace(modpo, config=own)
    assert share_policies((soup, run)) == (soup, run)
