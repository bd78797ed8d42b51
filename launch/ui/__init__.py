"""Texts for people. Nothing below imports it but commands and supervise.

runs         what `status` and others print of a run, its attempts and machines
run_list     the table of `runs`
comparison   runs beside each other
offers       offers and estimates as tables
narrow       tables and sentences that fit a narrow terminal
enforcement  who enforces which limit, for the plan and each provider's page
still_paid   machines that are paid for and work for nothing
no_effect    options that change nothing at a provider
confirm      the plan before money is spent, and the question
live         a run as lines that are drawn again and again, for `status --watch`
completion   what a shell may complete
shells       its scripts for bash, zsh and fish
terminal     progress on a terminal, plain lines elsewhere
"""
