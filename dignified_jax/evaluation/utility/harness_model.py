"""Our decoder and sampler as a model of lm-evaluation-harness.

Imports lm_eval (extra `eval`), and so is imported late by what uses it. What it gives equals
lm_eval's own backend for Hugging Face models, on the same weights.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from transformers import PreTrainedTokenizerBase

from dignified_jax.console.waiting import waiting
from dignified_jax.evaluation.utility.continuations import ContinuationScorer, Likelihood
from dignified_jax.generation import Request, Settings, generate
from dignified_jax.generation.prompts import stop_tokens
from dignified_jax.models.decoder import Decoder, Params
from dignified_jax.models.lora import LoraParams

_SAMPLING = ("temperature", "top_p", "top_k")
_Encoded = tuple[tuple[str, str] | None, list[int], list[int]]
"""What lm_eval's cache knows a request by; token ids of context and continuation."""


class DecoderLM(TemplateLM):
    """A decoder, driven by lm-evaluation-harness.

    Attributes:
      tokenizer: the model's.
      max_gen_toks: most tokens of a generated text, where a task does not say.
    """

    max_gen_toks = 256

    def __init__(
        self,
        model: Decoder,
        params: Params | LoraParams,
        tokenizer: PreTrainedTokenizerBase,
        *,
        name: str = "dignified_jax",
        batch_size: int = 32,
        max_length: int | None = None,
        stops: Sequence[int] = (),
        template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Args:
          model, params: the decoder, and its parameter tree or that of a base and of LoRA.
          tokenizer: the model's.
          name: in lm_eval's results.
          batch_size: sequences that are sampled together.
          max_length: most tokens of a context and what continues it; None for what the model's
            positions hold.
          stops: tokens that end a text besides those of model and tokenizer.
          template_kwargs: arguments for the chat template.
        """
        super().__init__()
        self.tokenizer, self._name = tokenizer, name
        self.max_length = max_length or model.config.max_position_embeddings
        self._model, self._params, self._batch_size = model, params, batch_size
        self._stops = tuple(stops)
        self._template_kwargs = dict(template_kwargs or {})
        self._scorer = ContinuationScorer(model, params, self.max_length)

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> int:
        """The token that stands before a text without a context."""
        first = self.tokenizer.bos_token_id
        return self.eot_token_id if first is None else first

    @property
    def tokenizer_name(self) -> str:
        """The name that lm_eval's caches of requests go by."""
        return str(self.tokenizer.name_or_path or self._name).replace("/", "__")

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: object
    ) -> list[int]:
        """Returns a text's token ids, with what the tokenizer puts before them unless it stands
        there already.
        """
        del kwargs
        begins = string.startswith(self.tokenizer.decode([self.prefix_token_id]))
        if add_special_tokens is None:
            add_special_tokens = not begins
        return self.tokenizer.encode(string, add_special_tokens=add_special_tokens, verbose=False)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Returns a conversation as the text of a prompt."""
        return self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
            **self._template_kwargs,
        )

    def _loglikelihood_tokens(
        self, requests: Sequence[_Encoded], disable_tqdm: bool = False, **kwargs: object
    ) -> list[Likelihood]:
        del kwargs
        pairs = [(context, continuation) for _, context, continuation in requests]
        with waiting("log-likelihoods", visible=not disable_tqdm) as count:
            found = self._scorer(pairs, count)
        for (key, *_), likelihood in zip(requests, found, strict=True):
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, likelihood)
        return found

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Returns the log-probability of each whole text, in windows of `max_length` tokens."""
        windows, owners = [], []
        for number, request in enumerate(requests):
            for window in get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                windows.append((None, *make_disjoint_window(window)))
                owners.append(number)
        totals = [0.0] * len(requests)
        scored = self._loglikelihood_tokens(windows, disable_tqdm)
        for number, (log_prob, _) in zip(owners, scored, strict=True):
            totals[number] += log_prob
        for request, total in zip(requests, totals, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Returns what follows each context, up to where one of the request's texts begins.

        Raises:
          ValueError: a request has options that the sampler does not know.
        """
        groups = collections.defaultdict(list)
        for number, request in enumerate(requests):
            groups[json.dumps(request.args[1], sort_keys=True, default=str)].append(number)
        texts = [""] * len(requests)
        with waiting("texts", visible=not disable_tqdm) as count:
            done = 0
            for numbers in groups.values():
                for number, text in self._generate(requests, numbers):
                    texts[number], done = text, done + 1
                    self.cache_hook.add_partial("generate_until", requests[number].args, text)
                    count(done, len(requests))
        return texts

    def _generate(self, requests: list[Instance], numbers: list[int]) -> Iterator[tuple[int, str]]:
        """(number, text) of requests of the same options."""
        options = read_options(requests[numbers[0]].args[1], self.max_gen_toks, self.tokenizer)
        room = self.max_length - options.settings.max_new_tokens
        if room < 1:
            raise ValueError(
                f"max_gen_toks: expected fewer than the model's {self.max_length} tokens, found "
                f"{options.settings.max_new_tokens}"
            )
        prompts = [
            Request(str(n), tuple(self.tok_encode(requests[n].args[0])[-room:])) for n in numbers
        ]
        further = (*self._stops, *options.stop_tokens)
        stops = stop_tokens(self._model.config, self.tokenizer, None, further)
        settings = dataclasses.replace(options.settings, batch_size=self._batch_size)
        for each in generate(
            self._model,
            self._params,
            self.tokenizer,
            prompts,
            settings,
            stop_tokens=stops,
        ):
            yield int(each.id), each.text


@dataclasses.dataclass(frozen=True)
class TextOptions:
    """How a task wants texts to be generated.

    Attributes:
      settings: of the sampler.
      stop_tokens: those of the texts to stop at that are tokens of their own.
    """

    settings: Settings
    stop_tokens: tuple[int, ...]


def read_options(
    found: dict[str, Any], most: int, tokenizer: PreTrainedTokenizerBase
) -> TextOptions:
    """Reads a task's `generation_kwargs`.

    Args:
      found: as a task has them.
      most: tokens, if they don't say.
      tokenizer: the model's.

    Raises:
      ValueError: names an option that the sampler does not know.
    """
    options = dict(normalize_gen_kwargs(found, most))
    until = handle_stop_sequences(options.pop("until", None), eos=None)
    new_tokens = options.pop("max_gen_toks")
    greedy = not options.pop("do_sample", False) or not options.get("temperature", 1.0)
    sampling = {name: options.pop(name) for name in _SAMPLING if name in options}
    if options:
        raise ValueError(
            f"generation_kwargs: expected until, max_gen_toks, do_sample, {', '.join(_SAMPLING)}, "
            f"found {', '.join(sorted(options))}"
        )
    added = tokenizer.get_added_vocab()
    texts = tuple(dict.fromkeys(text for text in until if text and text not in added))
    chosen = {} if greedy else {"temperature": 1.0} | sampling
    settings = Settings(max_new_tokens=new_tokens, stop=texts, **chosen)
    return TextOptions(settings, tuple(added[text] for text in until if text in added))
