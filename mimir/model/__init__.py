"""The mathematics of the model, as tensor operations without side effects.

denoiser     the transformer that predicts masked residues
attention    attention within peptides of different lengths
kernels      the same attention as Triton kernels, for GPUs
kernel_limits  which models, precisions and GPUs our kernels were written for
explicit     one training pass written out, with kernels that replace parts of it
embedding_and_head  of that pass
buffers      what it keeps
fused        those kernels
objective    the loss (NELBO), per residue and per peptide
batch        which peptides and masks a step sees, as a function of (seed, step)
composition  what a target's pairs are made of, as a bias of the logits
philox       the counter-based random numbers behind that
"""
