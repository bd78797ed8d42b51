"""Measurements: every script prints ours beside a baseline, interleaved in one run."""
