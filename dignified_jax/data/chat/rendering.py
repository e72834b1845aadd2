"""Chat templates rendered as transformers does, with a clock that is given, not read.

Run as a script, it is the child process of `trial`: it imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

MOST_CHARACTERS = 2**24
"""Of one rendered conversation, beyond 64 times its texts."""

TOO_LONG = 3  # exit status of the script


class TemplateFault(ValueError):
    """A chat template that can't be compiled or rendered, in a line."""


class Renderer:
    """A compiled chat template.

    Args:
      source: the template, in Jinja.
      variables: what it sees besides messages, such as bos_token.
      now: what its `strftime_now` prints.

    Raises:
      TemplateFault: it can't be compiled.
    """

    def __init__(self, source: str, variables: Mapping[str, Any], now: datetime) -> None:
        environment = _environment(now)
        try:
            self.reads = _readings(environment, source)
            self._template = environment.from_string(source)
            # Jinja looks each of them up in a chain of mappings, at every rendering.
            self._template.globals = dict(self._template.globals)
        except (jinja2.TemplateError, RecursionError, MemoryError, ValueError) as error:
            raise TemplateFault(_line(error)) from error
        self._variables = dict(variables)
        self._made_of = (source, self._variables, now)

    def identity(self) -> list[object]:
        """Returns what renderings depend on besides their conversations, as JSON."""
        source, variables, now = self._made_of
        said = f"{now:%Y-%m-%d %H:%M:%S}" if "the clock" in self.reads else ""
        return [source, json.dumps(variables, default=str), said]

    def __reduce__(self) -> tuple[type[Renderer], tuple[object, ...]]:
        """A compiled template can't be pickled, what it was made of can."""
        return Renderer, self._made_of

    def render(self, messages: Sequence[Mapping[str, str]], generation: bool) -> str:
        """Returns the text of a conversation.

        Args:
          messages: the turns, each with "role" and "content".
          generation: whether the text goes on to where the next reply begins.

        Raises:
          TemplateFault: the template raises an error, or prints without end.
        """
        room = MOST_CHARACTERS + 64 * sum(len(message["content"]) for message in messages)
        values = {"messages": messages, "tools": None, "documents": None} | self._variables
        pieces = []
        try:
            for piece in self._template.generate(add_generation_prompt=generation, **values):
                pieces.append(piece)
                room -= len(piece)
                if room < 0:
                    raise TemplateFault(f"prints more than {MOST_CHARACTERS} characters")
        except TemplateFault:
            raise
        except Exception as error:  # of any kind: the template is a program
            raise TemplateFault(_line(error)) from error
        return "".join(pieces)


class _Generation(jinja2.ext.Extension):
    """The block {% generation %}, which marks replies for trainers and prints its body."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> jinja2.nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.Scope(body).set_lineno(line)


class _Namespace(jinja2.utils.Namespace):
    """A namespace that holds no private names, by which a template could leave the sandbox."""

    def __init__(*args: object, **attributes: object) -> None:
        self, *rest = args
        values = dict(*rest, **attributes)
        for name in values:
            _refuse_private(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: object) -> None:
        _refuse_private(name)
        super().__setitem__(name, value)


def _refuse_private(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a namespace can't hold {name!r}")


class _Dict:
    """`dict(...)`, without the attributes of the type."""

    def __call__(self, *args: object, **kwargs: object) -> dict[object, object]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: object) -> dict[object, object]:
        return dict.fromkeys(*args)


def _environment(now: datetime) -> jinja2.Environment:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _raise,
        "strftime_now": now.strftime,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment


def _raise(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike Jinja's own, without HTML escapes."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _readings(environment: jinja2.Environment, source: str) -> tuple[str, ...]:
    """Returns what a template depends on besides its arguments: "the clock", "random numbers"."""
    tree = environment.parse(source)
    names = {each.name for each in tree.find_all(jinja2.nodes.Name)}
    draws = "lipsum" in names or any(
        each.name == "random" for each in tree.find_all(jinja2.nodes.Filter)
    )
    found = {"the clock": "strftime_now" in names, "random numbers": draws}
    return tuple(name for name, there in found.items() if there)


def _line(error: BaseException) -> str:
    """Its message on one line of bounded length."""
    where = f"line {error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
    kind = "" if isinstance(error, jinja2.TemplateError) else f"{type(error).__name__}: "
    text = " ".join(str(getattr(error, "message", None) or error).split())
    return f"{where}{kind}{text[:300]}"


def _restrict(seconds: int, memory: int) -> None:
    """Limits this process's CPU seconds and bytes of memory, where the system can."""
    import resource

    limits = {"RLIMIT_CPU": seconds, "RLIMIT_AS": memory, "RLIMIT_CORE": 0}
    for name, limit in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (limit, limit))


def _main() -> int:
    """Renders the conversations of a JSON object in standard input; exit status 0 or `TOO_LONG`."""
    _restrict(*map(int, sys.argv[1:]))
    given = json.load(sys.stdin)
    renderer = None
    for messages in given["conversations"]:
        try:
            renderer = renderer or Renderer(given["source"], given["variables"], datetime.now())
            renderer.render(messages, messages[-1]["role"] == "user")
        except TemplateFault as fault:
            cause = fault.__cause__
            if isinstance(cause, MemoryError | OverflowError):
                raise cause from None
            if cause is None:
                return TOO_LONG
    return 0


if __name__ == "__main__":
    sys.exit(_main())
