"""Where attempts run. `registry.get(name)` makes a provider; each is imported when first used.

registry   providers by name: a row for each
rented     makes a provider of the adapter of a service that rents
adapter    the base of such adapters: settings, key, one Http
http       JSON over HTTP: reads that may be tried again, changes that are sent once
ssh        SSH to a machine whose host key is known beforehand
<name>/    one provider, or one service's adapter and what its words mean
"""
