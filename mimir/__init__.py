"""Mimir: trains a small generative model of peptides on any GPU, and loses no work.

    notebook     training from the cells of a Colab notebook
    worker       the processes on a training machine
    checks       will a training work on this machine?
    output       what comes out: samples, model, evaluation
    training     one training in one process
    model        the mathematics
    data         build, verify, pack and load peptides (no torch)
    runs         the contract between laptop and machine (no torch)

    config       settings; presets are files of jobs/
    submission   what a new run consists of
    cli          from words to functions
    commands     `python -m mimir`
    api          what a model does, from a program
    errors       the error tree
    text         words for people, shown safely
    settings_input  YAML that a user wrote, and checks of its values
    console      what is printed, shown safely
    atomic_file  writes a file whole or not at all, and what --out names
    connections  why a connection could not be made

Imports run downward in this list; `make lint` checks it. The launcher lives in the sibling
package `launch`, which this package never imports.
"""

__version__ = "0.1.0"
