"""What an adapter implements and what policy relies on. Imports nothing else of launch.

A provider is a place where attempts run. A service that rents by the hour has an adapter instead (a
Cloud: its HTTP, nothing more), and providers/rented.py makes a provider of it.

provider    Provider, Machine, AttemptSpec, Caps: what every provider offers
cloud       Cloud: one service's HTTP, for providers that rent by the hour
one_gpu     that a run trains on one GPU
image       what a container image asks of a machine, and whether torch compiles in it
offer       what is wanted of a machine, and what a service would rent
pull        whether an image could be pulled, in registries' words
regions     which words name a region
errors      what a provider can answer, by what the caller does next
state       where this computer keeps what belongs to its attempts
redaction   removes secrets from what services and machines say
deadlines   every time limit that more than one module must agree on (that to begin, which the
            notebook has too, stands in mimir/runs/machine.py)
"""
