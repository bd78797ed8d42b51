"""Vast.ai, by its REST API (docs/providers/vastai.md)."""
