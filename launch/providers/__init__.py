"""Where attempts run: a folder per provider, and what they share.

registry   a row per provider: name and class
rented     a Provider over a service's adapter: one order, verified end
ending     ends a machine, until its service says that there is none
readable   what an adapter cannot read, as an error of the tree
adapter    what the adapters share: settings, key, one HTTP client
machine_names   which machines are this store's, by their names
asked_again   asks again for an order whose answer was lost, where a token makes that safe
http       HTTP that sends an order once and names failures by the error tree
failures   what an HTTP client raises, as an error of the tree
pulls      why an image was not pulled, read from a service's logs now and then
ssh        SSH to a machine whose host key is known beforehand
"""
