"""`analyze vectors`: persona vectors of contrast pairs, and the Assistant Axis."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np

from dignified_jax.analysis import (
    axis,
    causal,
    contrasts,
    extraction,
    responses,
    vector_report,
    vectors,
)
from dignified_jax.analysis.commands import flags
from dignified_jax.analysis.contrasts import ContrastSet
from dignified_jax.analysis.extraction import OF_RESPONSES, Extraction, Part
from dignified_jax.analysis.responses import Notify, Place
from dignified_jax.analysis.separation import FOLDS
from dignified_jax.analysis.vectors import Evidence
from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation import models, template_day
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.files import atomic, lock
from dignified_jax.generation.settings import Settings
from dignified_jax.models.checkpoint.vector_file import PersonaVector
from dignified_jax.models.checkpoint.vector_file import write as write_vectors
from dignified_jax.typed_config import path_argument, place_argument

FILE = "vectors.safetensors"
AXIS, AXIS_CONTRAST = "assistant", "assistant_contrast"
_BUILTIN = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add("--model", required=True, type=place_argument, help=flags.MODEL)
    flags.add_workdir(parser)
    add(
        "--pairs",
        type=path_argument,
        metavar="FILE",
        help="contrast pairs (YAML or JSON), or a trait file of the Persona Vectors repository; "
        "default: 40 pairs of each of A, T, E and C",
    )
    add("--dimensions", type=flags.names, metavar="A,T", help="of the pairs; default all")
    add(
        "--states",
        choices=get_args(Part),
        default="response",
        help="mean over response tokens (generated first), the same read after the bare question, "
        "without the framing; last prompt token; mean over the prompt; default %(default)s",
    )
    add(
        "--framing",
        choices=("system", "user"),
        default="system",
        help="where framings stand: a system turn, or before the question; default %(default)s",
    )
    add(
        "--layer",
        default="separation",
        metavar="HOW",
        help="separation (AUROC of held-out pairs), causal (what adding the vector does to the log-"
        "probs of held-out responses; needs --states response) or a number; default %(default)s",
    )
    add(
        "--axis",
        nargs="?",
        const=_BUILTIN,
        type=str,
        metavar="FILE",
        help="the Assistant Axis as well, of the shipped personas or those of a file",
    )
    flags.add_generation(parser, 64)
    add("--seed", type=int, default=0, help="of splits, folds, bootstrap and draws; default 0")
    flags.add_dtype(parser)


def run(options: argparse.Namespace, notify: Notify) -> None:
    """Writes vectors.safetensors, vectors.json and figures into the workdir.

    Raises:
      ValueError, OSError: what is wrong, by name.
      BusyError: another process works in the same directory.
    """
    sets = _chosen(contrasts.read(options.pairs or contrasts.PERSONA), options.dimensions)
    personas = None if options.axis is None else axis.read(options.axis or axis.PERSONAS)
    taken = [each.name for each in sets if each.name in (AXIS, AXIS_CONTRAST)]
    if personas is not None and taken:
        raise ValueError(f"--axis: {taken[0]} is its own name, found a dimension of that name")
    if options.layer == "causal" and options.states not in OF_RESPONSES:
        raise ValueError(f"--layer causal needs --states {' or '.join(OF_RESPONSES)}")
    if options.layer not in ("separation", "causal") and not options.layer.isdecimal():
        raise ValueError(
            f"--layer: expected separation, causal or a number, found {options.layer!r}"
        )
    generation = Settings(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    settings = Extraction(options.states, options.framing, generation)
    workdir = pathlib.Path(options.workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock.held(workdir, notify):
        day = template_day.kept(workdir)
        model = models.load(options.model, options.model, options.dtype, day=day)
        if options.layer.isdecimal() and int(options.layer) >= model.module.config.num_layers:
            most = model.module.config.num_layers - 1
            raise ValueError(f"--layer: expected 0 to {most}, found {options.layer}")
        found, evidence, told = [], {}, {}
        for pairs in sets:
            vector, own, facts = _of_pairs(model, pairs, settings, options, workdir, notify)
            found.append(vector)
            evidence[pairs.name], told[pairs.name] = own, facts
        if personas is not None:
            made, told[AXIS] = _axis(model, personas, settings, options.seed, workdir, notify)
            found += made
            vector_report.draw_axis(workdir / "axis.png", made[0].layer, told[AXIS], AXIS)
        provenance = {
            **flags.made(),
            "model": {"path": options.model, "weights": model.digest, "dtype": options.dtype},
            **{"states": settings.part, "framing": settings.placement, "seed": options.seed},
            "generation": {
                "max_new_tokens": options.max_new_tokens,
                "temperature": options.temperature,
            },
            "dimensions": told,
        }
        write_vectors(workdir / FILE, found, provenance)
        cosines = vector_report.cosines_between(found[: len(sets)])
        atomic.write_json(
            workdir / "vectors.json",
            {
                "provenance": provenance,
                "evidence": {name: vector_report.as_json(own) for name, own in evidence.items()},
                "cosines": cosines.tolist(),
            },
        )
        vector_report.draw(workdir, found[: len(sets)], evidence, told, cosines)
    notify(vector_report.table(found[: len(sets)], evidence).text())
    notify(f"vectors: {workdir / FILE}")


def _chosen(sets: Sequence[ContrastSet], names: Sequence[str] | None) -> list[ContrastSet]:
    known = {each.name: each for each in sets}
    for name in names or ():
        if name not in known:
            raise ValueError(f"--dimensions: expected some of {', '.join(known)}, found {name!r}")
    return [known[name] for name in names or known]


def _of_pairs(
    model: LoadedModel,
    pairs: ContrastSet,
    settings: Extraction,
    options: argparse.Namespace,
    workdir: pathlib.Path,
    notify: Notify,
) -> tuple[PersonaVector, Evidence, dict[str, Any]]:
    directory = workdir / "responses"
    states = extraction.pair_states(model, pairs, settings, directory, notify)
    vector, evidence = vectors.extract(pairs.name, states.states, states.groups, options.seed)
    facts: dict[str, Any] = {
        **{"pairs": len(states.groups), "left_out": states.left_out, "texts": pairs.hash},
        **{"title": pairs.title, "layer_by": options.layer},
    }
    if options.layer == "causal":
        effects = _causal(model, pairs, settings, states, directory, notify)
        facts["causal_effect"] = effects.tolist()
        vector = PersonaVector(*_parts(vector), int(np.argmax(effects)))
    elif options.layer.isdecimal():
        vector = PersonaVector(*_parts(vector), int(options.layer))
    return vector, evidence, facts


def _parts(vector: PersonaVector) -> tuple[str, np.ndarray, np.ndarray, np.ndarray]:
    return vector.name, vector.difference, vector.toward, vector.away


def _causal(
    model: LoadedModel,
    pairs: ContrastSet,
    settings: Extraction,
    states: extraction.PairStates,
    directory: pathlib.Path,
    notify: Notify,
) -> np.ndarray:
    """Effects on every fifth group of the vectors of all others."""
    held = states.groups % FOLDS == 0
    differences = states.states[~held, 0] - states.states[~held, 1]
    kept = {n: pair for n, pair in enumerate(pairs.pairs) if pairs.groups[n] % FOLDS == 0}
    prompts = {
        f"{n}-{pole}": pair.prompt(pole, settings.placement)
        for n, pair in kept.items()
        for pole in ("positive", "negative")
    }
    place = Place(directory, pairs.name)
    texts = responses.respond(model, prompts, settings.generation, place, notify)
    examples = responses.tokenized_pairs(
        model,
        [
            (
                pair.prompt("neutral", settings.placement),
                texts[f"{n}-positive"],
                texts[f"{n}-negative"],
            )
            for n, pair in kept.items()
        ],
    )
    if not examples or not len(differences):
        raise ValueError(f"{pairs.name}: too few pairs for --layer causal")
    with waiting(f"{pairs.name}: effects of layers") as count:
        return causal.layer_effects(
            model.module, model.params, differences.mean(0), examples, progress=count
        )


def _axis(
    model: LoadedModel,
    personas: axis.PersonaSet,
    settings: Extraction,
    seed: int,
    workdir: pathlib.Path,
    notify: Notify,
) -> tuple[list[PersonaVector], dict[str, Any]]:
    prompts = personas.prompts(settings.placement)
    bare = {name: personas.questions[int(name.rpartition("/")[2])] for name in prompts}
    place = Place(workdir / "responses", AXIS)
    found = extraction.read(model, prompts, bare, settings, place, notify)
    by_persona: dict[str, list[np.ndarray]] = {}
    by_question: dict[str, dict[str, list[np.ndarray]]] = {}
    for name, state in found.items():
        persona, question = name.split("/")
        pole = "assistant" if persona.startswith("=") else "others"
        by_persona.setdefault("=" if pole == "assistant" else persona, []).append(state)
        by_question.setdefault(question, {}).setdefault(pole, []).append(state)
    if "=" not in by_persona:
        raise ValueError(f"{AXIS}: no response of the assistant's persona can be read")
    others = {name: np.mean(own, axis=0) for name, own in by_persona.items() if name != "="}
    made = axis.assistant_axis(np.mean(by_persona["="], axis=0), np.array(list(others.values())))
    # Questions are the topics of pairs: the assistant's answer against the mean of the others'.
    whole = {q: own for q, own in by_question.items() if len(own) == 2}
    poles = [
        [np.mean(own[pole], axis=0) for pole in ("assistant", "others")] for own in whole.values()
    ]
    pairs = np.array([[first, second, second] for first, second in poles], np.float32)
    contrast, evidence = vectors.extract(AXIS_CONTRAST, pairs, np.arange(len(pairs)), seed)
    zero = np.zeros_like(contrast.difference)
    component = PersonaVector(AXIS, made.scaled, made.scaled, zero, contrast.layer)
    facts = {
        **{"personas": len(others), "texts": personas.hash},
        **{"explained": made.explained.tolist(), "agreement": made.agreement.tolist()},
        "loadings": dict(
            zip([AXIS, *others], made.loadings[:, contrast.layer].tolist(), strict=True)
        ),
        "auroc": evidence.separation.auroc.value.tolist(),
    }
    return [component, contrast], facts
