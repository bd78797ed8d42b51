"""Where attempts run. `registry.get(name)` makes a provider; each is imported when first used."""
