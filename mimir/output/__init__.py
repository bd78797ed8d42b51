"""What comes out of a training.

sampling     draws peptides from a model
export       leaves model, configuration and vocabulary at the end of a run
model_file   reads a model back, from a run or from a folder
evaluation   held-out figures of a finished model
report       the HTML report
plot         the loss curve as a picture
"""
