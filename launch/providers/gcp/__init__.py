"""Google Compute Engine: virtual machines that the service itself deletes (docs/providers/gcp.md).

adapter     the Cloud: orders, looks, ends
order       the request that makes a machine, and the names that Google takes
operations  how an order, or a machine, ended
market      offers: machine types with one GPU, where they are, what quotas leave
stock       what Google's lists hold, typed
prices      what Google's price list says of them
egress      what Google asks for data that leaves its network
project     one project's requests: paths, pages, whole lists
answers     fields of Google's answers by their types
token       an access token for Google's APIs
errors      what Google's refusals mean
"""
