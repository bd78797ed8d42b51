"""What comes out of a training.

commands      sample, score, evaluate
given         what their options name: model, data, condition
condition     what a model is told of a peptide
sampling      draws peptides from a model
score         NELBO of given peptides under conditions, with standard errors
score_sheet   its rows
peptide_file  reads peptides, or names of targets, that a person gives (no torch)
sheet         rows as CSV or as a table (no torch)
quality       are samples valid, distinct and new? (no torch)
vocabulary    what the numbers in the weights mean (no torch)
export        leaves weights and samples at the end of a run
model_object  the object that export leaves, and its checks (no torch)
folder        makes the files of a finished run from it, for `launch pull` (no torch)
model_file    reads a model back, from a run or from a folder
evaluation    held-out figures of a finished model
target_gain   what its target is worth to it, with intervals
report        the HTML report (no torch)
plot          the loss curve as a picture (no torch)
events        metrics for TensorBoard (no torch)
"""
