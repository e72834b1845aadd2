"""The timed side of TRL: DPOTrainer itself on one batch of pairs, stopped after every request.

Its settings are the fastest for the machine: reference log-probs precomputed, no logging, no
saving; in float32 on the CPU, with bfloat16 autocast on the GPU. `padding_free` is switched off in
TRL 1.16 ("temporarily unavailable"); its output head is chunked in any case, and scores response
tokens only where Triton runs, all tokens on the CPU.
"""

from __future__ import annotations

import tempfile
import time
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import peft
import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PrinterCallback,
    TrainerCallback,
)
from transformers.utils import is_flash_attn_2_available
from trl import DPOConfig, DPOTrainer

from benchmarks.train_step_models import text
from benchmarks.train_step_worker import (
    BETA,
    CLIP_NORM,
    LEARNING_RATE,
    READY,
    Job,
    Timings,
    peak_resident_bytes,
)
from dignified_jax.models.lora import LoraConfig

_FOREVER = 10**6  # steps; the callback stops before
_COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


def serve(connection: Connection, job: Job) -> None:
    """See `Job.serve`. An epoch is the job's one batch."""
    with tempfile.TemporaryDirectory() as directory:
        trainer = make_trainer(job, directory)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Clock(connection, job, trainer))
        trainer.train()


def make_trainer(job: Job, directory: str) -> DPOTrainer:
    """The trainer, its reference log-probs computed, on exactly the ids of the job.

    Raises:
      RuntimeError: TRL's token ids are not those of the examples.
    """
    pairs = [
        (example.prompt, *(ids for ids in example.responses if ids is not None))
        for example in job.examples
    ]
    names = ("prompt", "chosen", "rejected")
    rows = [dict(zip(names, map(text, pair), strict=True)) for pair in pairs]
    model = AutoModelForCausalLM.from_pretrained(
        job.checkpoint,
        # Frozen weights under LoRA need no float32; trained ones do.
        dtype=torch.bfloat16 if job.gpu and job.lora_rank is not None else torch.float32,
        attn_implementation=(
            "flash_attention_2" if job.gpu and is_flash_attn_2_available() else "sdpa"
        ),
    )
    arguments = DPOConfig(
        output_dir=directory,
        beta=BETA,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        max_grad_norm=CLIP_NORM,
        max_length=None,
        max_steps=_FOREVER,
        per_device_train_batch_size=len(pairs),
        precompute_ref_log_probs=True,
        bf16=job.gpu,
        use_cpu=not job.gpu,
        gradient_checkpointing=job.remat,
        dataloader_pin_memory=job.gpu,
        report_to="none",
        logging_strategy="no",
        save_strategy="no",
        disable_tqdm=True,
    )
    trainer = DPOTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(job.checkpoint),
        peft_config=_adapter(job.lora_rank),
    )
    found = [[row[name] for name in _COLUMNS] for row in trainer.train_dataset]
    if found != [[ids.tolist() for ids in pair] for pair in pairs]:
        raise RuntimeError("TRL's token ids differ from those of the examples")
    return trainer


def _adapter(rank: int | None) -> peft.LoraConfig | None:
    """LoRA beside the same matrices and with the same scale as ours."""
    if rank is None:
        return None
    lora = LoraConfig(rank)
    return peft.LoraConfig(r=rank, lora_alpha=lora.numerator, target_modules=list(lora.names))


class _Clock(TrainerCallback):
    """Times steps from the end of one to the end of the next, and waits for requests between."""

    def __init__(self, connection: Connection, job: Job, trainer: DPOTrainer) -> None:
        self._connection, self._job, self._trainer = connection, job, trainer
        self._warmup = job.warmup
        self._steps = 0
        self._seconds: list[float] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._connection.send(READY)
        self._receive(control)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._synchronize()
        self._seconds.append(time.perf_counter() - self._began)
        if len(self._seconds) == self._warmup + self._steps:
            self._connection.send(self._timings())
            self._warmup = 0
            self._receive(control)
        self._began = time.perf_counter()

    def _receive(self, control: Any) -> None:
        self._seconds = []
        self._steps = self._connection.recv()
        control.should_training_stop = self._steps is None
        self._began = time.perf_counter()

    def _timings(self) -> Timings:
        cuda = self._job.gpu
        rows = self._trainer.train_dataset
        log_probs = [rows["ref_chosen_logps"], rows["ref_rejected_logps"]]  # of the checkpoint
        return Timings(
            step=self._seconds[self._warmup :],
            reference=[self._reference_seconds() for _ in range(self._steps)],
            peak_bytes=torch.cuda.max_memory_allocated() if cuda else peak_resident_bytes(),
            device=torch.cuda.get_device_name() if cuda else None,
            log_probs=np.stack(log_probs, axis=1).flatten(),
        )

    def _reference_seconds(self) -> float:
        """Seconds of the pass that precomputation makes of this batch."""
        trainer = self._trainer
        began = time.perf_counter()
        batch = trainer.data_collator(list(trainer.train_dataset))
        batch = {name: value.to(trainer.accelerator.device) for name, value in batch.items()}
        trainer.compute_ref_log_probs(trainer.model, batch)
        self._synchronize()
        return time.perf_counter() - began

    def _synchronize(self) -> None:
        if self._job.gpu:
            torch.cuda.synchronize()
