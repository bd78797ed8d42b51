"""Triton kernels that `config.KERNELS` names, most of them for `mimir.model.explicit`.

    attention  attention by sums, for GPUs before compute capability 8.0
    norms      LayerNorm forward with the residual addition, and backward
    products   matrix products with GELU in their epilogue; all weight gradients in one kernel
    embedding  embedding with the first norm, and its gradient
    head       head, loss, and their gradient
    sums       adds up what the others left as partial sums
    timestep   gradients of the timesteps' embedding
    adamw      the update, scalars included
    peptide    the whole network of one peptide in one program, for narrow models

Tiles and grids are functions of the shapes alone, nothing is chosen by timing and nothing is
added atomically: the same inputs give the same bits on one kind of GPU. Triton's interpreter runs
them on a CPU (TRITON_INTERPRET=1), which is how they are tested.
"""
