"""The loop of every stage: write, read, verify; what fails is written again, within a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from dignified_jax.construction.answers import Unusable
from dignified_jax.construction.asking import Asker, Inquiry
from dignified_jax.construction.config import CHECK
from dignified_jax.construction.health import Health
from dignified_jax.construction.making.checks import Check
from dignified_jax.endpoints.logs import Answer

U = TypeVar("U")
T = TypeVar("T")
CALL_FAILED = "the call failed"


@dataclasses.dataclass(frozen=True)
class Failure:
    """An attempt that came to nothing.

    Attributes:
      part: of the row, in words.
      attempt: from 1.
      model: that wrote.
      reason: in words.
    """

    part: str
    attempt: int
    model: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a part comes from: who wrote it at which attempt (from 1), when, and in which log."""

    model: str
    attempt: int
    time: str
    log: str


@dataclasses.dataclass(frozen=True)
class Outcome(Generic[T]):
    """The part that was made, or why there is none.

    Attributes:
      value: None where there is none.
      origin: of the value; None as well.
      failures: of former attempts.
      pending: why it waits for a call that failed, which the next run makes again; "" if it
        doesn't.
    """

    value: T | None = None
    origin: Origin | None = None
    failures: tuple[Failure, ...] = ()
    pending: str = ""


class Maker(Protocol[U, T]):
    """A kind of part."""

    stage: str

    def part(self, unit: U) -> str:
        """Returns the part in words, the number of its row among them."""

    def request(self, unit: U, attempt: int) -> Inquiry:
        """Returns what is asked; attempts count from 0."""

    def read(self, unit: U, answer: str) -> T:
        """Returns the part; raises `Unusable` where it can be none."""

    def checks(self, unit: U, value: T) -> Sequence[Check]:
        """Returns what the verifier is asked."""

    def keep(self, unit: U, value: T) -> None:
        """Takes a part that passed, one after the other; raises `Unusable` where it is refused."""


def produce(
    maker: Maker[U, T], units: Sequence[U], asker: Asker, health: Health, attempts: int
) -> list[Outcome[T]]:
    """Makes a part of every unit, in as many attempts as it takes.

    Raises:
      DegradedError: a model gives too many answers that can't be used.
      EndpointError: no call can be made.
    """
    found: list[Outcome[T]] = [Outcome() for _ in units]
    left = list(range(len(units)))
    for attempt in range(attempts):
        requests = {at: maker.request(units[at], attempt) for at in left}
        replies = dict(zip(left, asker.ask(maker.stage, list(requests.values())), strict=True))
        values, reasons = _read(maker, units, requests, replies, asker)
        checked = _verify(maker, units, values, asker, health)
        for at in left:
            reason, pending = reasons.get(at, ""), False
            if replies[at] is None:
                pending = True
            elif not reason:
                reason, pending = checked[at]
            if not reason:
                reason = _kept(maker, units[at], values[at])
            if not pending or replies[at] is None:
                health.note(requests[at].model, maker.stage, reason)
            found[at] = _outcome(
                found[at],
                maker.part(units[at]),
                attempt,
                requests[at],
                replies[at],
                values.get(at),
                reason,
                pending,
            )
        left = [at for at in left if found[at].value is None and not found[at].pending]
        health.check()
    return found


def _read(
    maker: Maker[U, T],
    units: Sequence[U],
    requests: dict[int, Inquiry],
    replies: dict[int, Answer | None],
    asker: Asker,
) -> tuple[dict[int, T], dict[int, str]]:
    """The parts that can be read, and why the others can't."""
    values, reasons = {}, {}
    for at, answer in replies.items():
        if answer is None:
            failed = asker.failure(maker.stage, requests[at].model)
            reasons[at] = f"{CALL_FAILED}: {failed}"
            continue
        try:
            values[at] = maker.read(units[at], answer.text)
        except Unusable as error:
            reasons[at] = str(error)
    return values, reasons


def _verify(
    maker: Maker[U, T], units: Sequence[U], values: dict[int, T], asker: Asker, health: Health
) -> dict[int, tuple[str, bool]]:
    """(why a part fails, whether that is only a call that failed) of every part.

    A verdict that can't be read is asked for once more: the part is not to blame for it.
    """
    asked = [
        (at, check) for at, value in values.items() for check in maker.checks(units[at], value)
    ]
    results = _judge([check for _, check in asked], asker, health)
    again = [number for number, result in enumerate(results) if result.unusable]
    if again:
        checks = [_second(asked[number][1]) for number in again]
        for number, result in zip(again, _judge(checks, asker, health), strict=True):
            results[number] = result
    found = dict.fromkeys(values, ("", False))
    for (at, _), result in zip(asked, results, strict=True):
        known, pending = found[at]
        # A failure that was judged counts before a call that was not answered.
        if result.reason and (not known or (pending and not result.pending)):
            found[at] = (result.reason, result.pending)
    return found


@dataclasses.dataclass(frozen=True)
class _Result:
    """A check's reason to fail, "" if it passed; whether there was no answer, or no usable one."""

    reason: str
    pending: bool = False
    unusable: bool = False


def _judge(checks: Sequence[Check], asker: Asker, health: Health) -> list[_Result]:
    answers = asker.ask(CHECK, [check.request for check in checks]) if checks else []
    return [_judged(c, a, asker, health) for c, a in zip(checks, answers, strict=True)]


def _judged(check: Check, answer: Answer | None, asker: Asker, health: Health) -> _Result:
    model = check.request.model
    try:
        if answer is None:
            raise Unusable(f"{CALL_FAILED}: {asker.failure(CHECK, model)}")
        result = _Result(check.failure(answer.text))
    except Unusable as error:
        health.note(model, CHECK, str(error))
        return _Result(f"verifier: {error}", answer is None, answer is not None)
    health.note(model, CHECK, "")
    return result


def _second(check: Check) -> Check:
    """The same check, as another call."""
    return dataclasses.replace(check, request=dataclasses.replace(check.request, draw="again"))


def _kept(maker: Maker[U, T], unit: U, value: T) -> str:
    """Why a part that passed is refused; "" where it is taken."""
    try:
        maker.keep(unit, value)
    except Unusable as error:
        return str(error)
    return ""


def _outcome(
    before: Outcome[T],
    part: str,
    attempt: int,
    request: Inquiry,
    answer: Answer | None,
    value: T | None,
    reason: str,
    pending: bool,
) -> Outcome[T]:
    if pending:
        return dataclasses.replace(before, pending=reason)
    if reason:
        failure = Failure(part, attempt + 1, request.model, reason)
        return dataclasses.replace(before, failures=(*before.failures, failure))
    origin = Origin(request.model, attempt + 1, answer.time, answer.log)
    return dataclasses.replace(before, value=value, origin=origin)
