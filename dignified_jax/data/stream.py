"""Batches of packed examples, the same for every run of a seed, from any step on."""

import copy
import functools
from collections.abc import Sequence

import numpy as np

from dignified_jax.console.waiting import ShowCount, uncounted
from dignified_jax.data.batch import Capacity, PackedBatch
from dignified_jax.data.examples import ExampleTable, TokenizedExample
from dignified_jax.data.mixture import Mixture
from dignified_jax.data.packing import best_fit, build
from dignified_jax.data.stream_shape import ExampleSizes, plan_shape, planned_epochs


class BatchStream:
    """Groups of `batch_size` examples an optimizer step, packed into rows of static shape.

    Each epoch visits every example once, or draws from sources as a `Mixture` says, in an order
    that depends on (seed, epoch) alone.
    A batch depends on its step alone, so resuming needs nothing but the step. The last batch of
    an epoch may be short; the missing examples have no response. Evaluation uses
    `shuffle=False, epochs=1`.

    A batch's packed rows come in groups of `rows_multiple` (one microbatch); empty rows come
    last, so a consumer may stop after `used_rows(step)`. Of n processes, process p holds
    columns [p * rows_multiple / n, (p + 1) * rows_multiple / n) of every group.

    Attributes:
      example_count: number of examples.
      batch_size: examples a step, over all processes.
      row_length: tokens a packed row.
      rows_multiple: packed rows of a microbatch, over all processes.
      rows: packed rows a step over all processes, a multiple of `rows_multiple`: the most that
        any step needs.
      capacity: static sizes of its packed rows.
      steps_per_epoch, total_steps: numbers of steps.
      shape: what was found by packing the steps ahead: all of them, or those of the first
        epochs where together they visit millions of examples.
      useful_share: tokens of examples / tokens of the microbatches that hold one, over those.
    """

    def __init__(
        self,
        examples: Sequence[TokenizedExample],
        *,
        batch_size: int,
        row_length: int,
        rows_multiple: int = 1,
        seed: int = 0,
        epochs: int = 1,
        shuffle: bool = True,
        mixture: Mixture | None = None,
        process_index: int = 0,
        process_count: int = 1,
        progress: ShowCount = uncounted,
    ) -> None:
        """Checks the arguments and plans the shape of the batches.

        Args:
          examples: at least one tokenised example.
          batch_size: examples a step, at least 1.
          row_length: tokens a packed row.
          rows_multiple: packed rows a microbatch, over all processes.
          seed: of the order; not negative.
          epochs: passes over the examples, at least 1.
          shuffle: False for the order given, in every epoch.
          mixture: of the examples, whose order takes the place of a plain shuffle.
          process_index, process_count: which rows `batch` returns.
          progress: told how many examples have been packed ahead, and how many will be.

        Raises:
          ValueError: an argument out of its range; no examples; examples longer than
            `row_length` (all of them, by position); `rows_multiple` not a multiple of
            `process_count`; a mixture without a shuffle or of other examples.
        """
        _check_arguments(
            batch_size=batch_size,
            row_length=row_length,
            rows_multiple=rows_multiple,
            epochs=epochs,
            process_count=process_count,
        )
        if seed < 0:
            raise ValueError(f"seed: expected at least 0, found {seed}")
        if not 0 <= process_index < process_count:
            raise ValueError(
                f"process_index: expected 0 to {process_count - 1}, found {process_index}"
            )
        if rows_multiple % process_count:
            raise ValueError(
                f"rows_multiple: expected a multiple of process_count {process_count}, "
                f"found {rows_multiple}"
            )
        if not len(examples):
            raise ValueError("examples: expected at least one, found none")
        self._examples = examples if isinstance(examples, ExampleTable) else list(examples)
        self._sizes = ExampleSizes.of(self._examples)
        _check_lengths(self._sizes.tokens, row_length)
        self.example_count = len(self._examples)
        if mixture is not None and not (shuffle and len(mixture.sources) == self.example_count):
            raise ValueError(
                f"mixture: expected one of {self.example_count} examples, with a shuffle, found "
                f"{len(mixture.sources)} and shuffle={shuffle}"
            )
        self.batch_size = batch_size
        self.row_length = row_length
        self.steps_per_epoch = -(-len(self._examples) // batch_size)
        self.total_steps = self.steps_per_epoch * epochs
        self.rows_multiple = rows_multiple
        self._seed = seed
        self._shuffle = shuffle
        self._mixture = mixture
        self._process = (process_index, process_count)
        self._drawn: tuple[int, np.ndarray] | None = None
        # Unshuffled epochs are all alike: one is enough to plan.
        different = epochs if shuffle else 1
        planned = planned_epochs(different, len(self._examples))
        self.shape = plan_shape(
            self._sizes,
            (self._order(epoch) for epoch in range(planned)),
            batch_size=batch_size,
            row_length=row_length,
            rows_multiple=rows_multiple,
            more_follow=planned < different,
            most_visits=None if mixture is None else mixture.most_visits,
            count=lambda done: progress(done, planned * self.example_count),
        )
        self.rows, self.capacity = self.shape.rows, self.shape.capacity
        self.useful_share = self.shape.useful_share

    def ordered(self) -> "BatchStream":
        """One pass over the same examples in the order given."""
        return BatchStream(
            self._examples,
            batch_size=self.batch_size,
            row_length=self.row_length,
            rows_multiple=self.rows_multiple,
            shuffle=False,
            process_index=self._process[0],
            process_count=self._process[1],
        )

    def indices(self, step: int) -> np.ndarray:
        """(examples of the step,) positions in `examples`; example i of the batch is the i-th.

        Raises:
          IndexError: `step` is not in [0, total_steps).
        """
        epoch, start = self._locate(step)
        return self._order(epoch)[start : start + self.batch_size]

    def used_rows(self, step: int) -> int:
        """Packed rows of a step that hold an example, over all processes.

        Raises:
          IndexError: `step` is not in [0, total_steps).
        """
        return len(self._fitted(self.indices(step)))

    def useful_tokens(self, step: int) -> int:
        """Tokens of a step's examples, over all processes.

        Raises:
          IndexError: `step` is not in [0, total_steps).
        """
        return int(self._sizes.tokens[self.indices(step)].sum())

    def batch(self, step: int) -> PackedBatch:
        """The packed rows of a step that belong to this process, group by group.

        Returns:
          a `PackedBatch` of rows / process_count rows and `batch_size` examples.

        Raises:
          IndexError: `step` is not in [0, total_steps).
        """
        indices = self.indices(step)
        plan = self._fitted(indices)
        plan += [[] for _ in range(self.rows - len(plan))]
        index, count = self._process
        width = self.rows_multiple // count
        local = [
            row
            for start in range(index * width, self.rows, self.rows_multiple)
            for row in plan[start : start + width]
        ]
        return build(
            [self._examples[i] for i in indices],
            local,
            row_length=self.row_length,
            capacity=self.capacity,
            rows=len(local),
            example_count=self.batch_size,
        )

    def _fitted(self, indices: np.ndarray) -> list[list[int]]:
        """The positions in `indices` of the examples of each packed row."""
        return best_fit(self._sizes.tokens[indices].tolist(), self.row_length)

    def _order(self, epoch: int) -> np.ndarray:
        """(examples,) positions in the order of an epoch; the last one asked for is kept."""
        drawn = self._drawn
        if drawn is None or (drawn[0] != epoch and self._shuffle):
            self._drawn = drawn = (epoch, self._draw(epoch))
        return drawn[1]

    def _draw(self, epoch: int) -> np.ndarray:
        count = len(self._examples)
        if not self._shuffle:
            return np.arange(count)
        if self._mixture is not None:
            return self._mixture.order(self._seed, epoch)
        return np.random.default_rng([self._seed, epoch]).permutation(count)

    def _locate(self, step: int) -> tuple[int, int]:
        """(epoch, where in its order the step begins)."""
        if not 0 <= step < self.total_steps:
            raise IndexError(f"step: expected 0 to {self.total_steps - 1}, found {step}")
        epoch, step_of_epoch = divmod(step, self.steps_per_epoch)
        return epoch, step_of_epoch * self.batch_size


def share_shape(streams: Sequence[BatchStream]) -> list[BatchStream]:
    """The same batches in arrays of one shape, for which a consumer compiles once.

    What the arrays gain is empty; empty rows still come last.

    Args:
      streams: of equal `batch_size`, `row_length` and `rows_multiple`.

    Raises:
      ValueError: they are not equal.
    """
    for name in ("batch_size", "row_length", "rows_multiple"):
        found = sorted({getattr(stream, name) for stream in streams})
        if len(found) > 1:
            raise ValueError(f"{name}: expected the same of all streams, found {found}")
    shared = [copy.copy(stream) for stream in streams]
    for stream in shared:
        stream.rows = max(other.rows for other in streams)
        stream.capacity = functools.reduce(Capacity.union, (other.capacity for other in streams))
    return shared


def _check_arguments(**arguments: int) -> None:
    for name, value in arguments.items():
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, found {value}")


def _check_lengths(lengths: np.ndarray, row_length: int) -> None:
    too_long = [
        f"examples[{index}]: {lengths[index]} tokens"
        for index in np.flatnonzero(lengths > row_length).tolist()
    ]
    if too_long:
        head = f"examples: expected at most row_length {row_length} tokens, found"
        raise ValueError("\n".join([head, *too_long]))
