"""Keeps the best averaged weights, and ends a run that no longer improves.

After each validation `judge` compares its selecting figure with the best one so far. All that it
remembers lies in the training state, hence in every checkpoint: two runs of one seed keep the same
weights and end at the same step, wherever they were interrupted and whichever checkpoints were
committed. It decides on the host between steps; the steps themselves only read the cooldown's
beginning from the device, so that captured graphs need no other.
"""

import torch

from mimir.training.engine import Engine


@torch.no_grad()
def judge(engine: Engine, figure: float | None) -> bool:
    """Take note of the validation of the engine's step; whether it is the best so far.

    Once `patience` validations in a row were no better, the cooldown begins with the next step.

    Args:
        figure: nats per residue, lower is better; None if nothing is held out for it.
    """
    if figure is None:
        return False
    state, patience = engine.state, engine.config.training.patience
    if int(state.best_step) < 0 or figure < float(state.best_figure):
        state.best.copy_(state.ema)
        state.best_step.fill_(engine.step)
        state.best_figure.fill_(figure)
        state.stale.zero_()
        engine.best_step, engine.stale = engine.step, 0
        return True
    state.stale.add_(1)
    engine.stale = int(state.stale)
    exhausted = 0 < patience <= engine.stale
    if exhausted and engine.cooldown < 0 and engine.step < engine.total:
        state.best_before.copy_(state.best_figure)
        engine.begin_cooldown()
    return False


def expected_end(engine: Engine, evaluated: int, every: int) -> int | None:
    """Step at which the run ends if no later validation is better; None if at its last anyway.

    Each row of metrics asks for it, so it reads the engine's copies and nothing from the device.

    Args:
        evaluated: step of the last validation, -1 before the first.
        every: steps between validations.
    """
    patience = engine.config.training.patience
    if not patience or evaluated < 0 or engine.cooldown >= 0 or engine.best_step < 0:
        return None
    out = evaluated // every * every + (patience - engine.stale) * every
    end = out + engine.config.optimizer.cooldown_steps
    return end if end < engine.total else None
