"""Mimir: train a generator of short peptides on whatever GPU can be had, and lose nothing.

The package is what runs on the training machine: peptides (`mimir.data`), model,
diffusion, loop, sampler. `mimir.runs` is the contract between laptop and machine and
imports no torch. The launcher lives in the sibling package `launch`.
"""

__version__ = "0.1.0"
