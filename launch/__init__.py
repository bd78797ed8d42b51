"""What runs on the laptop: choose a machine, submit, follow, stop, resume and pull runs.

    api          the same as functions, for programs
    commands     the command line, one file per command
    sweep        several runs that are submitted, kept and shown together
    cluster      what runs on a cluster's nodes, outside training
    report       one run as an HTML page
    supervise    what loops over time: watcher, diagnosis, reaper, logs
    ui           texts for people
    provision    the life of one attempt's machine
    providers    where attempts run: one folder each, and the registry
    payload      all that is sent to a machine
    pricing      hours and dollars
    contract     what providers implement and policy relies on

    doctor       checks of keys, rights, balance, store and clock, for the command of that name

Imports run downward in this list only; `make lint` checks it. No torch here, and `--help`
imports nothing but the standard library.
"""
