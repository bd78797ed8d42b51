"""A cluster: what runs on its nodes and its login node, and how a laptop gets there.

On its nodes, with the user's own rights and outside training:
job            the program that a batch job becomes: looks after one run, or several side by side
part           one of those runs: its attempts, one at a time
signals        what the cluster tells a job, and what becomes of the job after it
container      the worker in an image, by Apptainer or Charliecloud
next_attempt   which attempt a job's start runs, and whether the run may go on after it

From a laptop:
login          an SSH connection to a login node, as the user's own `ssh` would make it
known_hosts    whom it may be
shell          runs scripts there
remote         runs Mimir's commands there, and streams them
setup          installs Mimir there
install        does so on the login node; its text travels alone
probe          asks a compute node, by a job, what it sees
"""

RECEIVES = "--words-from-stdin"
"""The word by which `remote` starts the console script there: it then reads its words."""
