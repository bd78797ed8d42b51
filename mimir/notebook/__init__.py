"""Training from the cells of a Colab notebook.

cells   what the cells call: connect a store, train, show progress
live    what a cell shows while training runs
"""
