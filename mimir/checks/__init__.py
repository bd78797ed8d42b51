"""Checks whether a training will work on this machine, before hours are spent.

preflight          runs the checklist and prints it
preflight_checks   the checks of that list
child              tries in a new process what needs torch
settings_fit       refuses, before a run is entered, settings that cannot train here
settings_trial     the process that tries them
dry_run            a few throw-away steps and a checkpoint before a run's first step
pace               steps against what was forecast for the machine
replay             trains the last steps of a run again, and compares
fast_path          numerical parity check: the fast GPU path against the eager one
"""
