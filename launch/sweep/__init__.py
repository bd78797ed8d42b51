"""Sweeps: several runs that are submitted, kept and shown together.

    grid        which runs: a grid, random draws from it, a file of settings
    plan        what they would take, and what each may cost
    proposal    what is going to be ordered, as text
    begin       orders a run's machine, or a job that several runs share
    keep        begins as many at a time as are wanted, and supervises those that have begun
    begin_next  the same for a watcher, once the sweep's own command has ended
    end         stops a sweep, and removes one
    table       one table of all runs
    page        the report of a sweep, as one HTML page (launch/report/sweep.html)

The list itself is `mimir.runs.sweep`. Each run is an ordinary one for every other command.
"""
