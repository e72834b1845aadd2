"""Time of sampling against transformers' `generate` in its best batching.

    python -m benchmarks.generate --model path/to/SmolLM2-135M-Instruct

Prompts of mixed length (16 to 512 tokens, their logarithms evenly spread, made of the embedded
rows' texts) get 64 new tokens each, greedily, in float32; nothing ends a response before, so that
all do the same work. transformers pads each static batch on the left: in the order of the file and
sorted by length, in batches of 8, 16 and 32. All candidates take turns in one process with the same
number of threads. The first turn, in which ours is compiled, is reported apart; the fastest of
transformers' batchings in it go on, and medians of the further turns count. Beside each time stands
the processor time, which other jobs on the machine disturb less. Tokens of both are compared: they
differ where two logits are equal to some 1e-6. In the end the local judge is timed, its token trees
against separate prompts (see `benchmarks.local_judge`).
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata

import jax
import numpy as np

from benchmarks import local_judge
from dignified_jax import data
from dignified_jax.console.table import Table
from dignified_jax.embedded import resolve
from dignified_jax.generation import Queue, Settings, TokenRequest
from dignified_jax.models import hf

Tokens = list[list[int]]
Times = tuple[float, float]  # seconds, processor seconds
OURS = "ours"


def make_prompts(tokenizer, count: int, shortest: int, longest: int) -> Tokens:
    """Token ids of prompts, `shortest` to `longest` tokens each, in random order."""
    rows = data.read_rows(resolve("embedded:personaknob_mini/train.jsonl"))
    text = "\n\n".join(f"{row.prompt}\n\n{row.golden}" for row in rows)
    stream = tokenizer(text, verbose=False)["input_ids"]
    lengths = np.exp(np.linspace(np.log(shortest), np.log(longest), count)).round().astype(int)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(stream) - longest, count)
    return [
        stream[start : start + length]
        for start, length in zip(starts, rng.permutation(lengths), strict=True)
    ]


def ours(directory: str, new_tokens: int, batch_size: int) -> Callable[[Tokens], Tokens]:
    """Our sampler on a list of prompts."""
    model, params = hf.load(directory)

    def run(prompts: Tokens) -> Tokens:
        queue = Queue(model, params, (), Settings(batch_size=batch_size))
        for number, prompt in enumerate(prompts):
            queue.add(TokenRequest(str(number), tuple(prompt), new_tokens, 0))
        found = {}
        while queue.busy:
            found |= {int(done.request.id): list(done.tokens) for done in queue.step()}
        return [found[number] for number in range(len(prompts))]

    return run


def theirs(directory: str, new_tokens: int) -> Callable[[Tokens, int, bool], Tokens]:
    """transformers on a list of prompts, in batches of a size, sorted by length or not."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as XLA takes
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.eval()
    model.generation_config.eos_token_id = None  # a token like any other, as for ours

    def run(prompts: Tokens, batch_size: int, by_length: bool) -> Tokens:
        order = list(range(len(prompts)))
        if by_length:
            order.sort(key=lambda n: len(prompts[n]))
        found = {}
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            width = max(len(prompts[n]) for n in chosen)
            pads = [width - len(prompts[n]) for n in chosen]
            rows = [[0] * pad + prompts[n] for pad, n in zip(pads, chosen, strict=True)]
            with torch.inference_mode():
                whole = model.generate(
                    input_ids=torch.tensor(rows),
                    attention_mask=torch.tensor([[0] * p + [1] * (width - p) for p in pads]),
                    max_new_tokens=new_tokens,
                    do_sample=False,
                    pad_token_id=0,
                )
            found |= dict(zip(chosen, whole[:, width:].tolist(), strict=True))
        return [found[number] for number in range(len(prompts))]

    return run


def measure(run: Callable[[], Tokens]) -> tuple[float, float, Tokens]:
    """(seconds, processor seconds, what was sampled)."""
    begun, processor = time.perf_counter(), time.process_time()
    tokens = run()
    return time.perf_counter() - begun, time.process_time() - processor, tokens


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="Hugging Face directory")
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--new_tokens", type=int, default=64)
    parser.add_argument("--longest", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3, help="after the first turn")
    parser.add_argument("--finalists", type=int, default=2, help="of theirs, after the first turn")
    parser.add_argument("--judge_responses", type=int, default=4, help="0 for no judge")
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=[8, 16, 32], help="theirs")
    options = parser.parse_args(arguments)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    prompts = make_prompts(tokenizer, options.prompts, 16, options.longest)
    names = ("jax", "torch", "transformers")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    print(
        f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}, Python "
        f"{platform.python_version()}, {versions}\n"
        f"{options.prompts} prompts of {sum(map(len, prompts))} tokens, {options.new_tokens} new",
        flush=True,
    )
    mine = ours(options.model, options.new_tokens, options.prompts)
    other = theirs(options.model, options.new_tokens) if options.batch_sizes else None
    candidates: dict[str, Callable[[], Tokens]] = {OURS: lambda: mine(prompts)}
    for size in options.batch_sizes:
        for by_length in (False, True) if size < len(prompts) else (False,):
            name = f"transformers, batches of {size}{', by length' if by_length else ''}"
            candidates[name] = lambda size=size, by=by_length: other(prompts, size, by)
    first, times, tokens = take_turns(candidates, options.rounds, options.finalists)
    print(table_of(first, times, options.prompts * options.new_tokens).text())
    middle = {name: medians(found) for name, found in times.items()}
    if rivals := [name for name in middle if name != OURS]:
        fastest = min(rivals, key=lambda name: middle[name])
        equal = sum(a == b for a, b in zip(tokens[OURS], tokens[fastest], strict=True))
        wall, processor = (b / a for a, b in zip(middle[OURS], middle[fastest], strict=True))
        print(
            f"{wall:.2f} times as fast as {fastest} ({processor:.2f} by processor seconds); "
            f"{equal} of {len(prompts)} responses are equal to its",
            flush=True,
        )
    if options.judge_responses:
        found = local_judge.compare(options.model, options.judge_responses, rounds=options.rounds)
        print(f"\nthe local judge: {found.text()}")


def take_turns(
    candidates: dict[str, Callable[[], Tokens]], rounds: int, finalists: int
) -> tuple[dict[str, Times], dict[str, list[Times]], dict[str, Tokens]]:
    """Runs all candidates once, and ours and the fastest others in further rounds.

    Returns:
      Times of the first turn; of the further ones; the tokens of the last.
    """
    first, tokens = {}, {}
    times: dict[str, list[Times]] = {}
    for turn in range(rounds + 1):
        for name in list(times or candidates):
            seconds, processor, tokens[name] = measure(candidates[name])
            print(f"turn {turn}, {name}: {seconds:.1f} s, {processor:.1f} s", flush=True)
            if turn:
                times[name].append((seconds, processor))
            else:
                first[name] = (seconds, processor)
        if not turn:
            others = sorted(first.keys() - {OURS}, key=lambda name: first[name])
            times = {name: [] for name in (OURS, *others[:finalists])}
    return first, times, tokens


def medians(times: Sequence[Times]) -> Times:
    """Median seconds and median processor seconds."""
    seconds, processor = zip(*times, strict=True)
    return statistics.median(seconds), statistics.median(processor)


def table_of(first: dict[str, Times], times: dict[str, list[Times]], sampled: int) -> Table:
    """All candidates; those of the first turn alone have a dash for the further ones."""
    middle = {name: medians(times[name]) if name in times else (np.nan,) * 2 for name in first}
    columns: dict[str, list[object]] = {
        "candidate": list(first),
        "seconds": [seconds for seconds, _ in middle.values()],
        "processor seconds": [processor for _, processor in middle.values()],
        "tokens/s": [sampled / seconds for seconds, _ in middle.values()],
        "first turn": [seconds for seconds, _ in first.values()],
    }
    turns = len(times[OURS])
    return Table("generate", f"medians of {turns} turns after the first", columns)


if __name__ == "__main__":
    main()
