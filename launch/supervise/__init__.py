"""What loops over time.

watcher        keeps runs alive: acts on the diagnosis of each run
rounds         a round over all runs, whose objects are read ahead
settled        leaves out the runs for which nothing is left to do
diagnosis      what became of an attempt, by rules that are pure
backoff        how long to wait with what was refused here
limits         whether an interrupted run may go on
overtime       ends a machine after its deadline where a run cannot be read
reaper         ends machines that work for no run
timer          a timer of this computer that runs `watch --once`
timed          one round, as that timer calls it
notify         tells a webhook how runs end
removal        what goes with runs that are removed, and in which order
key_refresh    replaces a local machine's keys before they end
live_view      shows runs to a person as they go on, for `status --watch`
log_follower   reads a run's log as it grows, over all attempts
"""
