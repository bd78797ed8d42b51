"""What runs on the laptop: submit, follow, stop, resume and pull runs.

    errors               what can go wrong with a provider, by what to do next
    providers            where attempts run: a protocol, a registry, one module each
    machines             whether an attempt's machine still works on it
    attempts             raise an attempt, order its machine, wait until it has begun
    follow               a run's log as it grows
    download             what a run gives its user
    show, terminal       texts and progress for people
    commands             the command line

No torch here; `--help` imports nothing but the standard library.
"""
