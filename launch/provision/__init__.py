"""The life of one attempt's machine, in its order.

plan          the newest plan of a run, and whether it was asked to stop
kept_plan     the plan that this computer keeps where keys cannot be cut down
resume_plan   the plan of a run that a person resumes
choice        a machine that may be ordered, and the document of its order
choose        which offers to order now: none above the price cap (--max-price), within the budget
promises      what an offer promises, for its worker to check
billed        what the services bill for a run
settle        machines that ended while nobody watched, asked after and written down
ledger        what all runs of a store have cost
failed_hosts  hosts that failed, of all runs of a store
order         one order: order.json (mimir/runs/order.py), HEAD, one request, machine.json
refusals      the offers of an order that were refused, and what that says of the others
together      one order for several runs that share a job
starting      what a service says of a machine that gives no sign yet
wait          until the attempt has begun
liveness      whether an attempt's machine still works on it, by what changes while one looks
terminate     the verified end of a machine
"""
