"""One process of several that prepares a run's data: ROOT CACHE OUT FLAGS of `distributed`...

It writes into OUT what it sees of them, how many rows it tokenised, and the most of their bytes
that it had at once.
"""

import json
import pathlib
import sys

_, ROOT, CACHE, OUT, FIELDS = sys.argv

from dignified_jax.cluster import job  # noqa: E402
from dignified_jax.cluster.settings import DistributedConfig  # noqa: E402

CONFIG = DistributedConfig(**json.loads(FIELDS))


def main():
    import jax
    import numpy as np

    from dignified_jax.data import tokenize
    from dignified_jax.data.store import arrays
    from dignified_jax.training.inputs.data import prepare_data
    from tests.oracles import tiny_run

    encoded, appended = [], []
    encode, append = tokenize.Encoder._encode, arrays.Arrays.append
    tokenize.Encoder._encode = lambda self, start, rows: (
        encoded.append(len(rows)) or encode(self, start, rows)
    )
    arrays.Arrays.append = lambda self, parts: (
        appended.append(sum(part.nbytes for part in parts.values())) or append(self, parts)
    )
    found = []
    root, out = pathlib.Path(ROOT), pathlib.Path(OUT)
    # Kept for all, for each alone, and not at all; then what is kept is found.
    for number, (cache, gib) in enumerate(
        ((CACHE, 1), (f"{CACHE}-{jax.process_index()}", 1), (CACHE, 0), (CACHE, 1))
    ):
        encoded.clear(), appended.clear()
        workdir = out / f"{number}"
        workdir.mkdir(parents=True, exist_ok=True)
        config = tiny_run.config(root, workdir, data__cache=cache, data__cache_gib=float(gib))
        made = prepare_data(config, workdir, 6, lambda text: None)
        table = made.streams["train"]._examples
        found.append(
            {
                "identity": made.identity,
                "notes": made.notes,
                "prompts": list(made.train_prompts),
                "rows": sum(encoded),
                "bytes": max(appended, default=0),
                "mapped": isinstance(table.ids, np.memmap),
                "batches": {
                    name: [
                        [stream.batch(step).tokens.tolist(), stream.indices(step).tolist()]
                        for step in range(stream.total_steps)
                    ]
                    for name, stream in made.streams.items()
                },
            }
        )
    (out / f"{jax.process_index()}.json").write_text(json.dumps(found))


with job.joined(CONFIG):
    main()
