"""One training in one process: from a configuration and data to committed checkpoints.

assemble     an engine from a run record or a configuration
engine       one training step, eager or captured as a CUDA graph
order        which peptides each step takes
state        weights, moments, moving average and the best one so far, in flat vectors
own_kernels  kernels that a run asks for by name, and what they replace
update       clipping, AdamW and the learning rate
loop         steps, validation, logging, and when to checkpoint or stop
early_stop   keeps the best averaged weights, and ends a run that no longer improves
validation   held-out figures of the EMA weights, on fixed masks
figures      computes the held-out figures that mimir.runs.figures lists
checkpoint   the training state as safetensors bytes, and back
committer    uploads and commits checkpoints in a thread
cadence      when the next checkpoint is due: by the clock, or at once where somebody asks
machine      which device, precision and compilation a training gets, and why no faster one
device       whether a GPU is here that torch can use
driver       what NVIDIA's driver itself says
compiler     whether torch's compiler works here
compiled     removes what was compiled long ago
trial_kernel  the smallest kernel, by which that is tried
"""
