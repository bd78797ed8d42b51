"""The trainer that one would reach for: Hugging Face's Trainer, and a BERT of the same size.

Peptides are padded to the longest of their batch, masked anew by the collator, and trained by the
library's own loop: AdamW, clipping, a scheduler, callbacks. The model is BertForMaskedLM with the
preset's width, layers, heads and feed-forward layers; it has no timestep, no target and no average
of its weights, so that it does less than ours. Needs the extra `bench`: pip install -e '.[bench]'.
"""

import importlib.util
import tempfile
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimir.config import Config
from mimir.data.alphabet import LETTERS, MASK, MAX_LENGTH
from mimir.data.pack import Peptides

PAD = MASK + 1
IGNORED = -100
"""Label of a place that is not predicted, as the library has it."""


def installed() -> bool:
    """Whether the library is here."""
    return all(importlib.util.find_spec(name) for name in ("transformers", "accelerate"))


class Rows(torch.utils.data.Dataset[Tensor]):
    """Token ids of peptides, one by one."""

    def __init__(self, peptides: Peptides, rows: np.ndarray) -> None:
        self.peptides, self.rows = peptides, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Tensor:
        start, stop = self.peptides.offsets[self.rows[index] :][:2]
        return torch.from_numpy(self.peptides.tokens[start:stop].astype(np.int64))


def collate(rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """A batch, padded to its longest peptide; of each a uniform number of residues is masked."""
    tokens = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=PAD)
    filled = tokens != PAD
    length = filled.sum(1)
    count = 1 + (torch.rand(len(rows)) * length).long()
    noise = torch.rand(tokens.shape).masked_fill(~filled, 2.0)
    masked = noise.argsort(1).argsort(1) < count[:, None]
    return {
        "input_ids": tokens.masked_fill(masked, MASK),
        "attention_mask": filled.long(),
        "labels": tokens.masked_fill(~masked, IGNORED),
    }


class HuggingFaceTrainer:
    """Steps of the library's loop, which runs in a thread and waits for leave before each.

    dtype: bfloat16 for the library's mixed precision, else float32.
    """

    def __init__(
        self, config: Config, peptides: Peptides, rows: np.ndarray, device: str, dtype: torch.dtype
    ) -> None:
        self._leave, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._failed: list[BaseException] = []
        self._trainer = self._made(config, Rows(peptides, rows), device, dtype)
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def run(self, steps: int) -> None:
        """Take so many steps."""
        self._leave.release(steps)
        for _ in range(steps):
            self._done.acquire()
            if self._failed:
                raise RuntimeError("the library's trainer failed") from self._failed[0]

    def _train(self) -> None:
        try:
            self._trainer.train()
        except BaseException as error:  # noqa: BLE001 - raised where steps are asked for
            self._failed.append(error)
        self._done.release(1 << 20)

    def _made(self, config: Config, rows: Rows, device: str, dtype: torch.dtype) -> Any:
        import transformers

        transformers.logging.set_verbosity_error()
        size, training, optimizer = config.model, config.training, config.optimizer
        model = transformers.BertForMaskedLM(
            transformers.BertConfig(
                vocab_size=PAD + 1, hidden_size=size.dim, num_hidden_layers=size.layers,
                num_attention_heads=size.heads, intermediate_size=size.ffn * size.dim,
                hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
                max_position_embeddings=MAX_LENGTH, pad_token_id=PAD, type_vocab_size=1,
            )
        )  # fmt: skip
        assert len(LETTERS) <= PAD
        leave, done = self._leave, self._done

        class Steps(transformers.TrainerCallback):
            def on_step_begin(self, *given: Any, **more: Any) -> None:
                leave.acquire()

            def on_step_end(self, *given: Any, **more: Any) -> None:
                done.release()

        arguments = transformers.TrainingArguments(
            output_dir=tempfile.mkdtemp(prefix="mimir-bench-"), max_steps=10**9,
            per_device_train_batch_size=training.batch, learning_rate=optimizer.lr,
            weight_decay=optimizer.weight_decay, max_grad_norm=optimizer.clip,
            adam_beta1=optimizer.beta1, adam_beta2=optimizer.beta2, bf16=dtype == torch.bfloat16,
            logging_steps=training.log_every, save_strategy="no", report_to=[], disable_tqdm=True,
            use_cpu=device == "cpu", dataloader_drop_last=True,
        )  # fmt: skip
        return transformers.Trainer(
            model=model, args=arguments, train_dataset=rows, data_collator=collate,
            callbacks=[Steps()],
        )  # fmt: skip
