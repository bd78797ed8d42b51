"""Containers of this computer, through the docker or podman command line."""
