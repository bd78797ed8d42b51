"""Google Compute Engine: virtual machines that the service itself deletes (docs/providers/gcp.md).

adapter   the Cloud: orders, looks, ends
order     the request that makes a machine, and the names that Google takes
market    machine types with one GPU, where they are, quotas
prices    what Google's price list says of them
project   one project's requests: paths, pages, whole lists
token     an access token for Google's APIs
errors    what Google's refusals mean
"""
