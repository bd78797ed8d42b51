"""Training from the cells of a Colab notebook.

cells      what the cells call: connect a store, train, show progress
checklist  ticks the training guide's list
recall     brings a run back from Drive
drive      keeps a run's commits in a folder of Google Drive
copier     copies them there while it trains
archive    one commit as one file
results    sample, score, measure and compare
live       what a cell shows while training runs
shown      what it shows while another step takes its time
"""
