"""What loops over time.

watcher        keeps runs alive: acts on the diagnosis of each run
diagnosis      what became of an attempt, by rules that are pure
overtime       ends machines after their deadline where HEAD cannot be read
reaper         ends machines that work for no run
key_refresh    replaces a local machine's keys before they end
log_follower   reads a run's log as it grows, over all attempts
"""
