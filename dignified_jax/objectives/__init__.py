"""Preference objectives: arrays in, arrays out, one file each, all of one shape (`base`).

A file put here is imported, and registers what it has.
"""

from __future__ import annotations

import importlib
import pkgutil

from dignified_jax.objectives.base import (
    GOLDEN,
    METHODS,
    Method,
    Objective,
    ScoredBatch,
    Stage,
    register,
)
from dignified_jax.objectives.lagdpo import LagDPO
from dignified_jax.objectives.modpo import MODPO
from dignified_jax.objectives.multi_negative import MultiNegativeDPO
from dignified_jax.objectives.multi_stage import MultiStage
from dignified_jax.objectives.pcgrad import PCGradDPO
from dignified_jax.objectives.sacpo import SACPO
from dignified_jax.objectives.safe_rlhf import SafeRLHF
from dignified_jax.objectives.sft import SFT
from dignified_jax.objectives.soup import RewardedSoup
from dignified_jax.objectives.terms import Terms

__all__ = [
    "GOLDEN",
    "METHODS",
    "MODPO",
    "SACPO",
    "SFT",
    "LagDPO",
    "Method",
    "MultiNegativeDPO",
    "MultiStage",
    "Objective",
    "PCGradDPO",
    "RewardedSoup",
    "SafeRLHF",
    "ScoredBatch",
    "Stage",
    "Terms",
    "register",
]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
