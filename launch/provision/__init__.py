"""The life of one attempt's machine, in its order.

plan          order.json: how a run gets its machines, and one order
resume_plan   the plan of a run that a person resumes
choose        which offers to order now, within the limits
order         one order: right to order, HEAD, one request, machine.json
wait          until the attempt has begun
liveness      whether an attempt's machine still works on it
terminate     the verified end of a machine
"""
