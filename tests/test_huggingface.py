"""The batches that the library's trainer is given in the bench."""

import torch

from bench.huggingface import IGNORED, PAD, collate
from mimir.data.alphabet import MASK


def test_a_batch_is_padded_to_its_longest_and_predicts_what_is_masked() -> None:
    rows = [torch.arange(1, 1 + length) for length in (3, 12, 7)]
    batch = collate(rows)
    tokens, labels, filled = (batch[k] for k in ("input_ids", "labels", "attention_mask"))
    assert tokens.shape == (3, 12)
    assert filled.sum(1).tolist() == [3, 12, 7]
    masked = tokens == MASK
    assert bool((masked.sum(1) > 0).all())
    assert torch.equal(labels != IGNORED, masked)
    whole = torch.where(masked, labels, tokens)
    for row, length, own in zip(whole, (3, 12, 7), rows, strict=True):
        assert torch.equal(row[:length], own)
        assert bool((row[length:] == PAD).all())
