"""Judging: every judge's verdicts on every response, each given once."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from dignified_jax.console.table import Table
from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation import models, template_day, works
from dignified_jax.evaluation.config import EvaluationConfig
from dignified_jax.evaluation.entries import LOCAL, file_name, named
from dignified_jax.evaluation.judging import endpoint, halo, local, rules
from dignified_jax.evaluation.judging.judgments import Judge, Verdict, Verdicts
from dignified_jax.evaluation.ledger import Ledger
from dignified_jax.evaluation.responses import Response
from dignified_jax.evaluation.rubrics import Rubric
from dignified_jax.files.json_digest import digest

Judging = Callable[[Sequence[Response]], Iterator[tuple[Response, dict[str, Verdict]]]]


def judge(
    config: EvaluationConfig,
    rubric: Rubric,
    responses: Sequence[Response],
    notify: Callable[[str], None],
) -> tuple[dict[Judge, Verdicts], list[Table]]:
    """Asks every judge what it has not been asked.

    Returns:
      The verdicts of each judge, and tables of the halo audit.

    Raises:
      ValueError, OSError: names the judge.
    """
    directory = pathlib.Path(config.workdir) / "judgments"
    entries = dict(named(entry, "judging.judges") for entry in config.judging.judges)
    found: dict[str, tuple[Judge, Verdicts]] = {}
    for name, spec in entries.items():
        if spec in rules.NAMES:
            ruled = rules.RuleJudge(spec, rubric)
            found[name] = _with_ledger(
                _named(ruled.judge, name), ruled, directory, rubric, responses, notify
            )
        elif spec.startswith(LOCAL):
            found[name] = _local(config, rubric, responses, name, spec, notify)
    endpoints = {spec: name for name, spec in entries.items() if name not in found}
    tables = []
    if endpoints:
        asked, tables = _endpoints(config, rubric, responses, endpoints, notify)
        found |= asked
    return dict(found[name] for name in entries), tables


def check(config: EvaluationConfig, rubric: Rubric) -> None:
    """Looks for every judge, before there are responses.

    Raises:
      ValueError, OSError: one can't judge; names it.
    """
    endpoints = []
    for entry in config.judging.judges:
        name, spec = named(entry, "judging.judges")
        if spec in rules.NAMES:
            rules.RuleJudge(spec, rubric)
        elif spec.startswith(LOCAL):
            with models.named(f"judge {name}"):
                models.tokenizer(spec.removeprefix(LOCAL))
        else:
            endpoints.append(spec)
    if endpoints:
        heard = endpoint.heard(_calls(config, config.judging.endpoint()))
        if new := [spec for spec in endpoints if spec not in heard]:  # the others need no key
            endpoint.check(new)


def _calls(config: EvaluationConfig, settings: endpoint.EndpointSettings) -> pathlib.Path:
    """The directory of the logs of calls with these settings."""
    name = f"calls-{endpoint.settings_hash(settings)}"
    return pathlib.Path(config.workdir) / "judgments" / name


def _local(
    config: EvaluationConfig,
    rubric: Rubric,
    responses: Sequence[Response],
    name: str,
    spec: str,
    notify: Callable[[str], None],
) -> tuple[Judge, Verdicts]:
    directory = pathlib.Path(config.workdir) / "judgments"
    path, settings = spec.removeprefix(LOCAL), config.judging.local()
    kwargs = config.template_kwargs()
    weights = digest([models.digest(path, template_kwargs=kwargs), config.dtype])
    judge = local.judge_of(name, weights, models.tokenizer(path), settings)

    day = template_day.kept(config.workdir).isoformat()
    model = works.ModelSource(name, path, config.dtype, kwargs, day)

    def judging(wanted: Sequence[Response]) -> Iterator[tuple[Response, dict[str, Verdict]]]:
        return works.judge(model, rubric, settings, list(wanted))

    return _with_ledger(judge, judging, directory, rubric, responses, notify)


def _with_ledger(
    judge: Judge,
    judging: Judging,
    directory: pathlib.Path,
    rubric: Rubric,
    responses: Sequence[Response],
    notify: Callable[[str], None],
) -> tuple[Judge, Verdicts]:
    """A judge that is asked here, response by response."""
    origin = digest([judge.hash, rubric.hash])
    file = directory / file_name(judge.name, f"{origin}.jsonl")
    ledger = Ledger(file, ("response",))
    wanted = {r.hash: r for r in responses if ledger.get(r.hash) is None}
    if wanted:
        notify(f"{judge.name}: {len(wanted)} responses to judge")
        with waiting(f"{judge.name}: judging") as count:
            for number, (response, verdicts) in enumerate(judging([*wanted.values()]), start=1):
                items = {
                    name: [verdict.score, verdict.log_odds, verdict.reason, verdict.time]
                    for name, verdict in verdicts.items()
                }
                ledger.add({"response": response.hash, "items": items})
                count(number, len(wanted))
    found = {}
    for response in responses:
        for name, (score, log_odds, reason, time) in ledger.get(response.hash)["items"].items():
            verdict = Verdict(score, log_odds, reason, time, file.name)
            found[response.hash, name] = verdict
    return judge, found


def _endpoints(
    config: EvaluationConfig,
    rubric: Rubric,
    responses: Sequence[Response],
    names: Mapping[str, str],
    notify: Callable[[str], None],
) -> tuple[dict[str, tuple[Judge, Verdicts]], list[Table]]:
    """Judges behind endpoints, model -> label; and their halo, if it is asked for."""
    settings = config.judging.endpoint()

    def ask(settings: endpoint.EndpointSettings, few: Sequence[Response]) -> dict[str, tuple]:
        logs = _calls(config, settings)
        notify(f"{', '.join(names.values())}: {len(few)} responses to judge, logs in {logs}")
        asked = endpoint.ask(list(names), few, rubric, settings, logs)
        return {names[j.name]: (_named(j, names[j.name]), own) for j, own in asked.items()}

    found = ask(settings, responses)
    few = list({r.hash: r for r in responses}.values())[: config.judging.halo_responses]
    if not few or settings.items_per_call == 1:
        return found, []
    alone = ask(dataclasses.replace(settings, items_per_call=1), few)
    tables = [
        dataclasses.replace(
            halo.audit(name, found[name][1], alone[name][1], rubric), name=f"halo-{number}"
        )
        for number, name in enumerate(found, start=1)
    ]
    return found, tables


def _named(judge: Judge, name: str) -> Judge:
    return dataclasses.replace(judge, name=name)
