"""What a pulled folder holds so that it can be used without Mimir.

peptides    draws and scores peptides; `pull` copies the file, and nothing here imports it
"""
