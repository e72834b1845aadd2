"""Time of sampling against transformers' `generate` in its best batching.

    python -m benchmarks.generate --model path/to/SmolLM2-135M-Instruct

Prompts of mixed length (16 to 512 tokens, their logarithms evenly spread, made of the embedded
rows' texts) get 64 new tokens each, greedily, in float32; nothing ends a response before, so that
all do the same work. transformers pads each static batch on the left: in the order of the file and
sorted by length, in batches of 8, 16 and 32; the fastest counts. All candidates take turns in one
process with the same number of threads; the first turn, in which programs are compiled, is reported
apart. Beside each time stands the processor time, which other jobs on the machine disturb less.
Tokens of both are compared: they differ where two logits are equal to some 1e-6.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence

import jax
import numpy as np

from dignified_jax import data
from dignified_jax.console.table import Table
from dignified_jax.embedded import resolve
from dignified_jax.generation import Queue, Settings, TokenRequest
from dignified_jax.models import hf

Tokens = list[list[int]]


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
                    min_new_tokens=new_tokens,
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
    parser.add_argument("--rounds", type=int, default=2, help="after the first turn")
    parser.add_argument("--batch_sizes", type=int, nargs="*", default=[8, 16, 32], help="theirs")
    options = parser.parse_args(arguments)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    prompts = make_prompts(tokenizer, options.prompts, 16, options.longest)
    sampled = options.prompts * options.new_tokens
    print(
        f"{options.prompts} prompts, {sum(map(len, prompts))} tokens; {jax.devices()}", flush=True
    )
    mine = ours(options.model, options.new_tokens, options.prompts)
    other = theirs(options.model, options.new_tokens) if options.batch_sizes else None
    candidates: dict[str, Callable[[], Tokens]] = {"ours": lambda: mine(prompts)}
    for size in options.batch_sizes:
        for by_length in (False, True) if size < len(prompts) else (False,):
            name = f"transformers, batches of {size}{', by length' if by_length else ''}"
            candidates[name] = lambda size=size, by=by_length: other(prompts, size, by)

    times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    tokens: dict[str, Tokens] = {}
    for turn in range(options.rounds + 1):
        for name, run in candidates.items():
            seconds, processor, tokens[name] = measure(run)
            times[name].append((seconds, processor))
            print(f"turn {turn}, {name}: {seconds:.1f} s, {processor:.1f} s", flush=True)
    best = {name: min(found[1:]) for name, found in times.items()}
    columns = {
        "candidate": list(best),
        "seconds": [seconds for seconds, _ in best.values()],
        "processor seconds": [processor for _, processor in best.values()],
        "tokens/s": [sampled / seconds for seconds, _ in best.values()],
        "first turn": [found[0][0] for found in times.values()],
    }
    print(Table("generate", f"{options.new_tokens} new tokens each", columns).text())
    rivals = {name: found for name, found in best.items() if name != "ours"}
    if rivals:
        fastest = min(rivals, key=lambda name: rivals[name])
        pairs = zip(tokens["ours"], tokens[fastest], strict=True)
        equal = sum(a == b for a, b in pairs)
        print(
            f"{rivals[fastest][0] / best['ours'][0]:.2f} times as fast as {fastest}; "
            f"{equal} of {len(prompts)} responses are equal to its"
        )


if __name__ == "__main__":
    main()
