"""`analyze steer`: responses under steering, judged, against its strength."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from dignified_jax.analysis import coherence, lm_eval_file, responses
from dignified_jax.analysis.commands import flags
from dignified_jax.analysis.responses import Notify, Place
from dignified_jax.analysis.steering import Strength
from dignified_jax.analysis.steering_results import (
    UNSTEERED,
    Condition,
    draw,
    judged_scores,
    results,
    table,
)
from dignified_jax.console.waiting import waiting
from dignified_jax.data.schema import Prompt
from dignified_jax.evaluation import models, rubrics, template_day
from dignified_jax.evaluation.config import EvaluationConfig, JudgingConfig
from dignified_jax.evaluation.models import LoadedModel
from dignified_jax.evaluation.responses import Response, read_prompts
from dignified_jax.evaluation.stages import judge as judging
from dignified_jax.files import atomic, lock
from dignified_jax.files.json_digest import digest
from dignified_jax.generation.settings import Settings
from dignified_jax.generation.steering import Steering
from dignified_jax.models.checkpoint.vector_file import PersonaVector, VectorFile
from dignified_jax.models.checkpoint.vector_file import read as read_vectors
from dignified_jax.typed_config import count_argument, path_argument

NEUTRAL = pathlib.Path(__file__).parents[1] / "neutral.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add = parser.add_argument
    add(
        "--model",
        required=True,
        action="append",
        type=flags.named,
        metavar="NAME=PATH",
        help=f"{flags.MODEL}; repeatable, a curve each",
    )
    add(
        "--vectors",
        required=True,
        action="append",
        metavar="FILE|NAME=FILE",
        help="of `analyze vectors`: one for all models, or one for each",
    )
    flags.add_workdir(parser)
    add("--dimensions", type=flags.names, metavar="A,T", help="vectors to steer along; default all")
    add(
        "--alphas",
        type=flags.numbers,
        default=(-2.0, -1.0, 1.0, 2.0),
        metavar="A,B",
        help="multiples of the vector; 1 moves the stream as far as the persona's prompt does; "
        "default -2,-1,1,2 (--alphas=-2,2 with a first minus)",
    )
    add(
        "--cap",
        action="append",
        default=[],
        type=_bounds,
        metavar="LOW,HIGH",
        help="holds the projection on the unit vector within bounds, -inf and inf for none; "
        "repeatable, beside the alphas (--cap=-inf,2 with a first minus)",
    )
    add("--layers", type=_layers, metavar="N,N", help="to edit; default each vector's own")
    add(
        "--positions",
        choices=("all", "prompt", "response"),
        default="all",
        help="tokens that are edited; default %(default)s",
    )
    add("--prompts", type=path_argument, metavar="FILE", help="JSON lines; default 24 neutral ones")
    add("--most_prompts", type=count_argument, help="of the prompts, the first ones")
    add(
        "--judge",
        action="append",
        metavar="JUDGE",
        help="as judging.judges of `evaluate`: local:PATH, a model of inspect_ai, rules-lenient, "
        "rules-strict; repeatable; default the two rules, which see words and no sense",
    )
    add("--judge_neutral", action="store_true", help="judging.neutral of `evaluate`")
    add("--rubric", type=path_argument, metavar="FILE", help="default the persona rubric")
    flags.add_generation(parser, 96)
    add("--seed", type=int, default=0, help="of draws; default 0")
    flags.add_dtype(parser)


def run(options: argparse.Namespace, notify: Notify) -> None:
    """Writes steering.json, curves and files for lm-eval into the workdir.

    Raises:
      ValueError, OSError: what is wrong, by name.
      BusyError: another process works in the same directory.
    """
    files = _vectors(options)
    rubric = rubrics.read(options.rubric or rubrics.PERSONA)
    prompts = _prompts(options)
    strengths = [Strength(alpha) for alpha in options.alphas if alpha] + options.cap
    generation = Settings(
        max_new_tokens=options.max_new_tokens,
        temperature=options.temperature,
        seed=options.seed,
        batch_size=options.batch_size,
    )
    workdir = pathlib.Path(options.workdir)
    config = EvaluationConfig(
        workdir=str(workdir),
        models=tuple(f"{name}={path}" for name, path in options.model),
        dtype=options.dtype,
        judging=JudgingConfig(**_judging(options)),
    )
    judging.check(config, rubric)
    workdir.mkdir(parents=True, exist_ok=True)
    with lock.held(workdir, notify):
        texts: dict[Condition, dict[str, str]] = {}
        nll: dict[Condition, np.ndarray] = {}
        for name, path in options.model:
            model = models.load(name, path, options.dtype, day=template_day.kept(workdir))
            file = read_vectors(files[name], model.module.config)
            vectors = _chosen(file, files[name], options.dimensions)
            own = _respond(model, vectors, strengths, prompts, generation, options, workdir, notify)
            texts |= own
            nll |= _nll(model, prompts, own)
        given = [
            Response(condition.label, name, prompts[name], text)
            for condition, found in texts.items()
            for name, text in found.items()
        ]
        verdicts, _ = judging.judge(config, rubric, given, notify)
        scores = {
            condition: judged_scores(condition, texts[condition], prompts, rubric, verdicts)
            for condition in texts
        }
        names = list(dict.fromkeys(c.dimension for c in texts if c.dimension))
        found = results([name for name, _ in options.model], names, texts, nll, scores)
        judges = {one.name: one.hash for one in verdicts}
        atomic.write_json(
            workdir / "steering.json",
            {"provenance": {**flags.made(), **_facts(options), "judges": judges}, "models": found},
        )
        draw(workdir, found, names)
    notify(table(found).text())
    notify(f"steering: {workdir / 'steering.json'}")


def _respond(
    model: LoadedModel,
    vectors: Mapping[str, PersonaVector],
    strengths: Sequence[Strength],
    prompts: Mapping[str, Prompt],
    generation: Settings,
    options: argparse.Namespace,
    workdir: pathlib.Path,
    notify: Notify,
) -> dict[Condition, dict[str, str]]:
    """The responses under each strength along each vector, and without any."""
    found = {}
    config, directory = model.module.config, workdir / "responses"
    plain = Condition(model.name, "", UNSTEERED)
    found[plain] = responses.respond(
        model, prompts, generation, Place(directory, plain.label), notify
    )
    for name, vector in vectors.items():
        layers = options.layers or (vector.layer,)
        for strength in strengths:
            condition = Condition(model.name, name, strength)
            applied = strength.steering(config, vector, layers, options.positions)
            parts = [vector.difference[layer].tolist() for layer in layers]
            made_of = [dataclasses.astuple(strength), layers, options.positions]
            origin = [digest(parts), *map(str, made_of)]
            place = Place(directory, condition.label, origin)
            found[condition] = responses.respond(model, prompts, generation, place, notify, applied)
            _export(workdir / "lm_eval", condition, applied, notify)
    return found


def _nll(
    model: LoadedModel,
    prompts: Mapping[str, Prompt],
    texts: Mapping[Condition, Mapping[str, str]],
) -> dict[Condition, np.ndarray]:
    """Negative log-probs of all conditions' responses; together, in one compiled program."""
    pairs = [(prompts[key], text) for own in texts.values() for key, text in own.items()]
    with waiting(f"{model.name}: perplexity") as count:
        values = coherence.mean_nll(model, pairs, count)
    ends = np.cumsum([len(own) for own in texts.values()])[:-1]
    return dict(zip(texts, np.split(values, ends), strict=True))


def _export(
    directory: pathlib.Path, condition: Condition, applied: Steering, notify: Notify
) -> None:
    """A file for lm-eval, where it has the form and PyTorch is there."""
    if importlib.util.find_spec("torch") is None:
        return
    if applied.positions != "all":
        return
    directory.mkdir(parents=True, exist_ok=True)
    name = models_file(condition)
    try:
        lm_eval_file.write(directory / name, applied.edits)
    except lm_eval_file.ExportError as error:
        notify(f"{condition.label}: no file for lm-eval: {error}")


def models_file(condition: Condition) -> str:
    """Returns the name of a condition's file for lm-eval, which tells conditions apart."""
    plain = condition.label.replace(" ", "_").replace("/", "-")
    parts = condition.model, condition.dimension
    doubtful = set(" /") & set(parts[0]) or set(" /_") & set(parts[1])
    return f"{plain}-{digest(parts)[:6]}.pt" if doubtful else f"{plain}.pt"


def _vectors(options: argparse.Namespace) -> dict[str, str]:
    """Name of each model -> its file of vectors."""
    names = [name for name, _ in options.model]
    if len({name.casefold() for name in names}) < len(names):
        raise ValueError(f"--model: expected distinct names, found {', '.join(names)}")
    given = [entry.partition("=") for entry in options.vectors]
    if len(given) == 1 and given[0][0] not in names:
        return dict.fromkeys(names, path_argument(options.vectors[0]))
    files = {name: path_argument(path) for name, equals, path in given if equals and name in names}
    missing = [name for name in names if name not in files]
    if missing or len(files) < len(given):
        raise ValueError(
            f"--vectors: expected one file, or NAME=FILE of each of {', '.join(names)}, found "
            f"{', '.join(options.vectors)}"
        )
    return files


def _chosen(file: VectorFile, path: str, names: Sequence[str] | None) -> dict[str, PersonaVector]:
    for name in names or ():
        if name not in file.vectors:
            known = ", ".join(file.vectors)
            raise ValueError(f"--dimensions: {path} has {known}, found {name!r}")
    return {name: file.vectors[name] for name in names or file.vectors}


def _prompts(options: argparse.Namespace) -> dict[str, Prompt]:
    if options.prompts is None:
        texts = yaml.safe_load(NEUTRAL.read_text(encoding="utf-8"))
        found: dict[str, Prompt] = {f"neutral-{n}": text for n, text in enumerate(texts, start=1)}
    else:
        found = read_prompts(options.prompts)
    return {name: found[name] for name in list(found)[: options.most_prompts]}


def _judging(options: argparse.Namespace) -> dict[str, Any]:
    given = {"neutral": options.judge_neutral}
    return given if options.judge is None else {**given, "judges": tuple(options.judge)}


def _facts(options: argparse.Namespace) -> dict[str, Any]:
    names = (
        *("vectors", "layers", "positions", "prompts", "most_prompts"),
        *("max_new_tokens", "temperature", "seed", "dtype"),
    )
    return {"models": dict(options.model), **{name: getattr(options, name) for name in names}}


def _bounds(text: str) -> Strength:
    low, comma, high = text.partition(",")
    try:
        found = Strength(low=float(low), high=float(high))
        sane = bool(comma) and found.low <= found.high and found.capped
    except ValueError:
        sane = False
    if not sane:
        raise argparse.ArgumentTypeError(f"expected bounds LOW,HIGH, found {text!r}")
    return found


def _layers(text: str) -> tuple[int, ...]:
    parts = flags.names(text)
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers of layers, found {text!r}")
    return tuple(map(int, parts))
