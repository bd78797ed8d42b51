"""RunPod, by its REST API v2 (docs/providers/runpod.md)."""
