"""The texts that a tokenizer's chat template puts around the user's text and around a reply.

A template is a program; it is learned by rendering it once with two sentinel words and
checked again on every conversation, as its output may depend on the texts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dignified_jax.data.chat.rendering import Renderer
from dignified_jax.data.chat.trial import try_out

_USER, _REPLY = "Userword5391", "Replyword8264"


@dataclass(frozen=True)
class ChatTemplate:
    """The fixed texts of a chat template, and how its reply ends.

    Attributes:
      tokenizer: a transformers tokenizer.
      renderer: renders conversations.
      head, tail: text before and after the user's text, up to where the reply begins.
      reply_head: text between that and the reply (some templates open a thinking block).
      suffix: everything after the reply.
      closing: the part of `suffix` before the end-of-turn token; trained as the reply's end.
      end_of_turn: the token id that ends a reply.
      end_text: its text.
      context: the end of `tail` from its last special token on, which no token spans: a reply has
        the same ids after it as after the whole prompt. Empty where there is none.
      reads: what a rendering depends on besides its conversation: "the clock", "random numbers".
    """

    tokenizer: Any
    renderer: Renderer = field(repr=False)
    head: str
    tail: str
    reply_head: str
    suffix: str
    closing: str
    end_of_turn: int
    end_text: str
    context: str
    reads: tuple[str, ...]
    special: re.Pattern[str] = field(repr=False)

    def prompt_text(self, prompt: str) -> str:
        """The rendered conversation up to where the reply begins.

        Raises:
          ValueError: the template loses or alters the user's text, or raises an error.
        """
        text = _prompt(self.renderer, prompt)
        _check_kept(prompt, text)
        return text

    def reply_text(self, prompt: str, prompt_text: str, reply: str) -> str:
        """Returns what follows `prompt_text` in the full conversation, up to the end-of-turn token.

        Raises:
          ValueError: the conversation does not begin with `prompt_text`, does not end as it
            does for other replies, or lacks part of the reply; the template raises an error.
        """
        full = _conversation(self.renderer, prompt, reply)
        rest = _after(prompt_text, full)
        # The prompt's end may hold the reply's beginning, such as "<think>".
        _check_kept(reply, self.tail + rest)
        if not rest.endswith(self.suffix):
            end = rest[-len(self.suffix) :]
            raise ValueError(f"expected the end {self.suffix!r}, found {end!r}")
        return rest[: len(rest) - len(self.suffix)] + self.closing

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts, one list each."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=False, verbose=False
        )
        return encoded["input_ids"]


def load_template(
    tokenizer: Any,
    kwargs: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    now: datetime | None = None,
) -> ChatTemplate:
    """Learn a tokenizer's chat template.

    Args:
      tokenizer: a transformers tokenizer.
      kwargs: extra arguments for every rendering.
      name: of its file or directory, for messages; by default the tokenizer's own.
      now: what a template that reads the clock is told; by default the time of this call.

    Raises:
      ValueError: there is no chat template, it can't be rendered or not within bounds, it does
        not show each text exactly once, it puts different text before a reply than its generation
        prompt does, or nothing ends a reply; names the template.
    """
    name = name or getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"tokenizer {name}: expected a chat template, found none; "
            "set data.chat_template to a Jinja file that holds one"
        )
    try:
        return _learn(tokenizer, dict(kwargs or {}), now or datetime.now())
    except ValueError as error:
        raise ValueError(f"chat template of {name}: {error}") from error


def _learn(tokenizer: Any, kwargs: Mapping[str, Any], now: datetime) -> ChatTemplate:
    source = tokenizer.get_chat_template()
    variables = {**tokenizer.special_tokens_map, **kwargs}
    turns = [_turn("user", _USER), _turn("assistant", _REPLY)]
    try_out(source, variables, [turns[:1], turns])  # first: compiling computes constants
    renderer = Renderer(source, variables, now)
    prompt, full = _prompt(renderer, _USER), _conversation(renderer, _USER, _REPLY)
    head, tail = _around(_USER, prompt, "the user's text")
    try:
        rest = _after(prompt, full)
    except ValueError as error:
        cure = _cure(source, variables, now)
        raise ValueError(f"{error}; {cure}") from error
    reply_head, suffix = _around(_REPLY, rest, "the reply")
    special = _special_tokens(tokenizer)
    if not special:
        raise ValueError("expected a tokenizer with a special token, found none")
    pattern = re.compile("|".join(re.escape(text) for text in special))
    # The end of a turn is the token the model will emit to stop, not all that a template
    # prints between two turns.
    first = pattern.search(suffix)
    if first is not None:
        closing, end = suffix[: first.start()], special[first.group()]
    elif tokenizer.eos_token_id is not None:
        closing, end = "", tokenizer.eos_token_id
    else:
        raise ValueError(
            "expected a special token after a reply or an eos_token, found neither (the template "
            f"ends a reply with {suffix!r})"
        )
    learned = ChatTemplate(
        tokenizer=tokenizer,
        renderer=renderer,
        head=head,
        tail=tail,
        reply_head=reply_head,
        suffix=suffix,
        closing=closing,
        end_of_turn=end,
        end_text=tokenizer.eos_token if first is None else first.group(),
        context="",
        reads=renderer.reads,
        special=pattern,
    )
    return replace(learned, context=_context(learned, prompt, full))


def _context(template: ChatTemplate, prompt: str, full: str) -> str:
    """The end of the prompt that replies may be tokenised after, or "" for all of it."""
    start = max((each.start() for each in template.special.finditer(template.tail)), default=None)
    if start is None:
        return ""
    context = template.tail[start:]
    before, rest = prompt[: len(prompt) - len(context)], full[len(prompt) :]
    whole, first, second = template.ids([full, before, context + rest])
    return context if whole == first + second else ""


def _cure(source: str, variables: Mapping[str, Any], now: datetime) -> str:
    """Advice that has been tried."""
    quiet = Renderer(source, {**variables, "enable_thinking": False}, now)
    prompt = _prompt(quiet, _USER)
    if _conversation(quiet, _USER, _REPLY).startswith(prompt):
        return f"set data.chat_template_kwargs to {json.dumps({'enable_thinking': False})}"
    return (
        "no argument changes that: set data.chat_template to a copy of it whose generation prompt "
        "ends where a reply begins"
    )


def common_length(left: Sequence[Any], right: Sequence[Any]) -> int:
    """Length of the longest common beginning."""
    pairs = zip(left, right, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(left), len(right)))


def _special_tokens(tokenizer: Any) -> dict[str, int]:
    """Text -> id, the longest text first so that it wins over its own beginning."""
    added = {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special
    }
    ids = tokenizer.convert_tokens_to_ids(tokenizer.all_special_tokens)
    named = dict(zip(tokenizer.all_special_tokens, ids, strict=True))
    return dict(sorted((added | named).items(), key=lambda item: -len(item[0])))


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _prompt(renderer: Renderer, prompt: str) -> str:
    return renderer.render([_turn("user", prompt)], True)


def _conversation(renderer: Renderer, prompt: str, reply: str) -> str:
    return renderer.render([_turn("user", prompt), _turn("assistant", reply)], False)


def _after(prompt: str, full: str) -> str:
    if full.startswith(prompt):
        return full[len(prompt) :]
    at = common_length(prompt, full)
    raise ValueError(
        "it puts different text before a reply than its generation prompt does: "
        f"after {prompt[max(at - 20, 0) : at]!r} comes {full[at : at + 40]!r} instead of "
        f"{prompt[at : at + 40]!r}"
    )


def _around(word: str, text: str, what: str) -> tuple[str, str]:
    if text.count(word) != 1:
        raise ValueError(f"expected {what} exactly once, found it {text.count(word)} times")
    before, _, after = text.partition(word)
    return before, after


def _check_kept(content: str, rendered: str) -> None:
    """Templates may strip or re-space a text, but must not lose any of it."""
    if "".join(content.split()) not in "".join(rendered.split()):
        raise ValueError("it loses or alters part of the text")
