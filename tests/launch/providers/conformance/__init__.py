"""What every provider must do, as one suite.

    properties     the suite: one function per property, of any provider
    harness        what a provider's tests contribute, so that the suite can run on it
    services       the same for an adapter of a service, made by Rented and run on a fake
    leaks          whether a text shows a secret, in any form

The harness of a provider is tests/launch/providers/<folder>/harness.py; it registers itself. A
property that a provider cannot have stands in its harness's `exceptions`, with the reason.
"""
