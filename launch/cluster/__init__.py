"""What runs on a cluster's nodes and login node, with the user's own rights and outside training.

job            the program that a batch job becomes: looks after the run's attempts, one at a time
container      the worker in an image, by Apptainer or Charliecloud
next_attempt   which attempt a job's start runs, and whether the run may go on after it
"""
