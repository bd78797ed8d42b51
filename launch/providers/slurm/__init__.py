"""Slurm: the cluster that a university has. A job that continues itself; no machine is rented."""
