"""Hours and dollars. Pure: touches no machine.

workload    parameters, FLOPs and memory of a configuration
gpus        the table of GPUs
kernels     which cards run the kernels of our own
forecast    hours of a workload on a GPU: measured, or by a roofline model
plateau     steps after which a preset got no better, as measured
measured    step times from the bench and from past runs
catalogue   prices without an account (gpuhunt)
market      all providers' offers, ranked by the cost of the whole run
evictions   what a machine that may be taken away costs more
budget      hours and dollars that a run's limits leave (their defaults: Limits in
            mimir/runs/order.py; the price cap of one machine: launch/provision/choose.py)
storage     what a run fills of its store, and the price of that
bill        what a run has cost
"""
