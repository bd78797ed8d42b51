"""What comes out of a training.

commands      sample, score, evaluate
given         what their options name: model, data, condition
device        the GPU if it can be used, else the CPU
told          targets as those options name them, and what a model is told of each
condition     what a model is told of a peptide
sampling      draws peptides from a model
score         NELBO of given peptides under conditions, with standard errors
score_sheet   its rows
peptide_file  reads peptides, or names of targets, that a person gives (no torch)
sheet         rows as CSV or as a table (no torch)
samples       chooses among drawn peptides, and makes their rows
likeness      how like real peptides a set is: composition, words, near copies (no torch)
properties    charge, hydropathy and such, by Biopython (no torch)
quality       of samples, and the real peptides to compare them with (no torch)
vocabulary    what the numbers in the weights mean (no torch)
target_table  what a pulled model knows of targets beside its weights (no torch)
export        leaves weights and samples at the end of a run
model_object  the object that export leaves, and its checks (no torch)
checkpoint_model  of a checkpoint, what a finished run would have left (no torch)
start         what a run begins with from another one (no torch)
folder        makes the files of a run from it, for `launch pull` (no torch)
standalone    what it holds to be used without Mimir
model_file    reads a model back, from a run or from a folder
interaction   does a model tell pairs that bind from others? as ROC-AUC
benchmark     commands that ask this of public benchmarks
evaluation    held-out figures of a finished model
ensemble      several models as one: the mean of their probabilities
target_gain   what its target is worth to it, with intervals
sample_tables  figures of samples beside real and random peptides (no torch)
histogram     two distributions as a small picture (no torch)
plot          the curves as a picture (no torch)
palette       colours and lines of report, picture and notebook (no torch)
events        metrics for TensorBoard (no torch)
"""
