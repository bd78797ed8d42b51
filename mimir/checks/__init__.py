"""Checks whether a training will work on this machine, before hours are spent.

preflight          runs the checklist and prints it
preflight_checks   the checks of that list
dry_run            a few throw-away steps and a checkpoint before a run's first step
pace               steps against what was forecast for the machine
replay             trains the last steps of a run again, and compares
fast_path          numerical parity check: the fast GPU path against the eager one
"""
