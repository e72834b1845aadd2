"""What a tokenizer's chat template puts around the user's text and around a reply.

A template is a program; it is learned by rendering it once with two sentinel words and
checked again on every conversation, as its output may depend on the texts.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_USER, _REPLY = "Userword5391", "Replyword8264"


@dataclass(frozen=True)
class ChatTemplate:
    """The fixed texts of a chat template, and how its reply ends.

    Attributes:
      tokenizer: a transformers tokenizer.
      kwargs: extra arguments for every rendering.
      head, tail: text before and after the user's text, up to where the reply begins.
      reply_head: text between that and the reply (some templates open a thinking block).
      suffix: everything after the reply.
      closing: the part of `suffix` before the end-of-turn token; trained as the reply's end.
      end_of_turn: the token id that ends a reply.
    """

    tokenizer: Any
    kwargs: Mapping[str, Any]
    head: str
    tail: str
    reply_head: str
    suffix: str
    closing: str
    end_of_turn: int
    special: re.Pattern[str] = field(repr=False)

    def prompt_text(self, prompt: str) -> str:
        """The rendered conversation up to where the reply begins.

        Raises:
          ValueError: the template loses or alters the user's text.
        """
        text = _render(self.tokenizer, [_turn("user", prompt)], True, self.kwargs)
        _check_kept(prompt, text)
        return text

    def reply_text(self, prompt: str, prompt_text: str, reply: str) -> str:
        """What follows `prompt_text` in the full conversation, up to the end-of-turn token.

        Raises:
          ValueError: the conversation does not begin with `prompt_text`, does not end as it
            does for other replies, or lacks part of the reply.
        """
        turns = [_turn("user", prompt), _turn("assistant", reply)]
        full = _render(self.tokenizer, turns, False, self.kwargs)
        rest = _after(prompt_text, full)
        _check_kept(reply, rest)
        if not rest.endswith(self.suffix):
            end = rest[-len(self.suffix) :]
            raise ValueError(f"chat template: expected the end {self.suffix!r}, found {end!r}")
        return rest[: len(rest) - len(self.suffix)] + self.closing


def load_template(tokenizer: Any, kwargs: Mapping[str, Any] | None = None) -> ChatTemplate:
    """Learn a tokenizer's chat template.

    Raises:
      ValueError: there is no chat template, it does not show each text exactly once, it puts
        different text before a reply than its generation prompt does, or nothing ends a reply.
    """
    kwargs = dict(kwargs or {})
    name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if not getattr(tokenizer, "chat_template", None):
        raise ValueError(
            f"tokenizer {name}: expected a chat template, found none; "
            "set data.chat_template to a Jinja file that holds one"
        )
    prompt = _render(tokenizer, [_turn("user", _USER)], True, kwargs)
    turns = [_turn("user", _USER), _turn("assistant", _REPLY)]
    rest = _after(prompt, _render(tokenizer, turns, False, kwargs))
    head, tail = _around(_USER, prompt, "the user's text")
    reply_head, suffix = _around(_REPLY, rest, "the reply")
    special = _special_tokens(tokenizer)
    if not special:
        raise ValueError(f"tokenizer {name}: expected a special token, found none")
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
            f"tokenizer {name}: expected a special token after a reply or an eos_token, found "
            f"neither (the template ends a reply with {suffix!r})"
        )
    return ChatTemplate(tokenizer, kwargs, head, tail, reply_head, suffix, closing, end, pattern)


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


def _render(
    tokenizer: Any, turns: list[dict[str, str]], generation: bool, kwargs: Mapping[str, Any]
) -> str:
    return tokenizer.apply_chat_template(
        turns, add_generation_prompt=generation, tokenize=False, **kwargs
    )


def _after(prompt: str, full: str) -> str:
    if full.startswith(prompt):
        return full[len(prompt) :]
    at = common_length(prompt, full)
    raise ValueError(
        "chat template: it puts different text before a reply than its generation prompt does: "
        f"after {prompt[max(at - 20, 0) : at]!r} comes {full[at : at + 40]!r} instead of "
        f"{prompt[at : at + 40]!r}; try chat_template_kwargs, "
        'for example {"enable_thinking": False}'
    )


def _around(word: str, text: str, what: str) -> tuple[str, str]:
    if text.count(word) != 1:
        raise ValueError(
            f"chat template: expected {what} exactly once, found it {text.count(word)} times"
        )
    before, _, after = text.partition(word)
    return before, after


def _check_kept(content: str, rendered: str) -> None:
    """Templates may strip or re-space a text, but must not lose any of it."""
    if "".join(content.split()) not in "".join(rendered.split()):
        raise ValueError("chat template: it loses or alters part of the text")
