"""The rented machine as an enemy: what it may write, and what must be true afterwards.

policy     a store as an attempt's keys see it, by the session policy that the launcher mints
ground     runs with machines, the laptop's commands, and what no machine may bring about
attacks    the table: a name, what is written, what the user is told

`test_attacks.py` plays all of them on paper, tests/servers/test_hostile.py with real keys.
"""
