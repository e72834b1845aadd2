"""The texts that a tokenizer's chat template puts around the turns of a conversation.

A template is a program; it is learned by rendering it once with two sentinel words and
checked again on every conversation, as its output may depend on the texts.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from dignified_jax.data.chat.borders import after, around
from dignified_jax.data.chat.kept import THOUGHTS_END, check_kept, check_turns_kept
from dignified_jax.data.chat.rendering import Renderer, TemplateFault
from dignified_jax.data.chat.trial import try_out
from dignified_jax.data.schema.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Message,
    Prompt,
    messages_of,
)
from dignified_jax.data.tokenizer import Tokenizer

_USER, _REPLY = "Userword5391", "Replyword8264"
_SYSTEM = Message(SYSTEM, "Systemword4173")


@dataclass(frozen=True)
class ChatTemplate:
    """The fixed texts of a chat template, and how its reply ends.

    Attributes:
      tokenizer: a transformers tokenizer.
      renderer: renders conversations.
      head, tail: text before and after the text of a single user's turn, up to where the reply
        begins.
      reply_head: text between that and the reply (some templates open a thinking block).
      suffix: everything after the reply.
      closing: the part of `suffix` before the end-of-turn token; trained as the reply's end.
      end_of_turn: the token id that ends a reply.
      end_text: its text.
      context: the end of `tail` from its last special token on, which no token spans: a reply has
        the same ids after it as after the whole prompt. Empty where there is none.
      reads: what a rendering depends on besides its conversation: "the clock", "random numbers".
    """

    tokenizer: Tokenizer
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

    def prompt_text(self, prompt: Prompt) -> str:
        """The rendered conversation up to where the reply begins.

        Raises:
          ValueError: the template loses or alters the text of a turn (thoughts of former replies
            it may leave out), or raises an error; says what would help, if a system turn matters.
        """
        messages = messages_of(prompt)
        try:
            text = _prompt(self.renderer, messages)
            check_turns_kept(messages, text)
        except ValueError as error:
            raise ValueError(f"{error}{self._advice(messages, _REPLY)}") from error
        return text

    def reply_text(self, prompt: Prompt, prompt_text: str, reply: str) -> str:
        """Returns what follows `prompt_text` in the full conversation, up to the end-of-turn token.

        Raises:
          ValueError: the conversation does not begin with `prompt_text`, does not end as it
            does for other replies, or lacks part of the reply; the template raises an error.
        """
        messages = messages_of(prompt)
        full = _conversation(self.renderer, messages, reply)
        try:
            rest = after(prompt_text, full)
        except ValueError as error:
            raise ValueError(f"{error}{self._advice(messages, reply)}") from error
        # The prompt's end may hold the reply's beginning, such as "<think>".
        tail = prompt_text[len(prompt_text) - len(self.tail) :]
        check_kept(reply, tail + rest, "the text")
        if not rest.endswith(self.suffix):
            end = rest[-len(self.suffix) :]
            raise ValueError(f"expected the end {self.suffix!r}, found {end!r}")
        return rest[: len(rest) - len(self.suffix)] + self.closing

    def pieces(
        self, messages: Sequence[Message], which: Sequence[int]
    ) -> tuple[list[int], list[str]]:
        """Returns which turns a prompt shows in what order, and its text before, between and after
        their contents.

        Args:
          messages: the prompt's turns.
          which: numbers of the turns, from 0, rendered with words in place of their contents.

        Raises:
          ValueError: the template shows one of them not exactly once, or raises an error.
        """
        words = {number: f"{_USER}n{number}n" for number in which}
        text = _prompt(
            self.renderer,
            [Message(m.role, words.get(n, m.content)) for n, m in enumerate(messages)],
        )
        for number, word in words.items():
            if text.count(word) != 1:
                role = messages[number].role
                raise ValueError(f"expected the {role}'s turn once, found it {text.count(word)}x")
        order = sorted(words, key=lambda number: text.index(words[number]))
        return order, re.split("|".join(words.values()), text)

    def _advice(self, messages: Sequence[Message], reply: str) -> str:
        """Advice on how the template takes a conversation, tried out; "" where nothing helps."""
        if messages[0].role == SYSTEM:
            others, cure = messages[1:], "write the system turn's text into the user's first turn"
        else:
            others, cure = (_SYSTEM, *messages), "begin the prompt with a system turn"
        if self._takes(others, reply):
            return f"; {cure}"
        if THOUGHTS_END in reply and self._takes(messages, reply.rpartition(THOUGHTS_END)[2]):
            return "; leave thoughts out, or open the block for them (data.chat_template_kwargs)"
        return ""

    def _takes(self, messages: Sequence[Message], reply: str) -> bool:
        """Returns whether a conversation is rendered whole, its prompt first."""
        try:
            text = _prompt(self.renderer, messages)
            check_turns_kept(messages, text)
            check_kept(reply, after(text, _conversation(self.renderer, messages, reply)), "it")
        except ValueError:
            return False
        return True

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts, one list each."""
        if not texts:
            return []
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            split_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        return encoded["input_ids"]


def load_template(
    tokenizer: Tokenizer,
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


def _learn(tokenizer: Tokenizer, kwargs: Mapping[str, Any], now: datetime) -> ChatTemplate:
    source = tokenizer.get_chat_template()
    variables = {**tokenizer.special_tokens_map, **kwargs}
    messages = (Message(USER, _USER),)
    conversations = [
        [message._asdict() for message in turns]
        for before in ((), (_SYSTEM,))
        for turns in ((*before, *messages), (*before, *messages, Message(ASSISTANT, _REPLY)))
    ]
    try_out(source, variables, conversations)  # first: compiling computes constants
    renderer = Renderer(source, variables, now)
    try:
        prompt = _prompt(renderer, messages)
    except TemplateFault:
        messages = (_SYSTEM, *messages)  # some templates insist on a system turn
        try:
            _prompt(renderer, messages)
        except TemplateFault:
            messages = messages[1:]
        prompt = _prompt(renderer, messages)
    full = _conversation(renderer, messages, _REPLY)
    head, tail = around(_USER, prompt, "the user's text")
    try:
        rest = after(prompt, full)
    except ValueError as error:
        cure = _cure(source, variables, messages, now)
        raise ValueError(f"{error}; {cure}") from error
    reply_head, suffix = around(_REPLY, rest, "the reply")
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


def _cure(
    source: str, variables: Mapping[str, Any], messages: Sequence[Message], now: datetime
) -> str:
    """Advice that has been tried."""
    quiet = Renderer(source, {**variables, "enable_thinking": False}, now)
    prompt = _prompt(quiet, messages)
    if _conversation(quiet, messages, _REPLY).startswith(prompt):
        return f"set data.chat_template_kwargs to {json.dumps({'enable_thinking': False})}"
    return (
        "no argument changes that: set data.chat_template to a copy of it whose generation prompt "
        "ends where a reply begins"
    )


def _special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Text -> id, the longest text first so that it wins over its own beginning."""
    added = {
        token.content: number
        for number, token in tokenizer.added_tokens_decoder.items()
        if token.special
    }
    ids = tokenizer.convert_tokens_to_ids(tokenizer.all_special_tokens)
    named = dict(zip(tokenizer.all_special_tokens, ids, strict=True))
    return dict(sorted((added | named).items(), key=lambda item: -len(item[0])))


def _prompt(renderer: Renderer, messages: Sequence[Message]) -> str:
    return renderer.render([message._asdict() for message in messages], True)


def _conversation(renderer: Renderer, messages: Sequence[Message], reply: str) -> str:
    turns = (*messages, Message(ASSISTANT, reply))
    return renderer.render([message._asdict() for message in turns], False)
