"""The processes on a training machine.

supervisor       `python -m mimir.worker`: claims the attempt, starts training, watches it
attempt          the training process that the supervisor starts (this one imports torch)
first_state      what a fresh run begins with that begins from another one
start_times      what an attempt's start took, part by part
delivered        is the machine what was ordered?
reporter         sends log, metrics and heartbeat to the store
telemetry        samples the machine while it trains, for heartbeat, metrics and warnings
gpu_figures, host_figures   what one sample reads
trouble          what of the samples is worth a warning, and its likely cause
exchange         what the supervisor and its training process tell each other
alert_log        writes what a worker warns of to the store
notices          a cloud's notice that it takes the machine away
health           the container's health check
tethered         a worker that ends with its parent, for Colab
webhook          one message to a webhook of the user's
self_terminate   ends the rented machine; its text travels alone, so it imports no Mimir
"""
