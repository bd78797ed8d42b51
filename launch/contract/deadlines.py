"""Every time limit that more than one module must agree on, in seconds.

Read them as `deadlines.NAME`, so that all see the same value. They are counted by the
store's own clock (Store.now), or from what one has seen oneself, never between the clocks of two
computers. In the order of an attempt's life:

    order ── LISTED_WITHIN ── BEGIN_WITHIN ── … heartbeats … ── SILENT_FOR ── given up
    deadline ── SHELL_OVERTIME ── KILL_AFTER ── SELF_TERMINATE_WITHIN ── WATCH_OVERTIME

tests/launch/contract/test_deadlines.py checks the relations that the comments state.
"""

from mimir.runs import machine

LISTED_WITHIN = 120.0
"""After an order its machine may be missing from the service's list for so long."""
CLOCKS_APART = 300.0
"""A computer's clock may differ by so much from others' before a cloud refuses what it signs."""
UNRECORDED_FOR = 300.0
"""A machine whose record is not in the store yet is not ended as unused before this. Longer than
LISTED_WITHIN and than an order is left to who began it (mimir.runs.orders.RESERVED)."""
BEGIN_WITHIN = machine.BEGIN_WITHIN
"""From the order to the first heartbeat. Until then an attempt without a sign is starting, for
`watch`, `submit`, `resume` and the notebook alike."""
SILENT_FOR = 600.0
"""Without a heartbeat for so long, an attempt is given up though its machine is there."""
BEATS_WITHIN = 20.0
"""A worker that lives is seen to change its heartbeat within this, whatever any clock says: it
writes one every 5 s. Nobody is given up as silent before one has looked for so long."""
FINAL_LOG_WITHIN = 60.0
"""A worker that has ended its run has so long for its outcome and the end of its log."""

CONTAINER_GRACE = 120
"""From SIGTERM to SIGKILL for a container, so that the last checkpoint can be committed."""
SHELL_OVERTIME = 1200.0
"""After an attempt's deadline, `timeout` ends a worker that has not ended by itself."""
KILL_AFTER = 60
"""From then, or from a SIGTERM, to SIGKILL."""
SELF_TERMINATE_WITHIN = 300.0
"""A machine has so long to end itself, before it is ended from outside where that is possible."""
WATCH_OVERTIME = 1800.0
"""After an attempt's deadline, `watch` ends its machine. Longer than the machine's own ways:
SHELL_OVERTIME + KILL_AFTER + SELF_TERMINATE_WITHIN."""
LEFT_ON = 3600.0
"""A machine that its service deletes within this stays on after its work, where shutting it down
would keep it from being deleted: below that, the service's deletion takes the disk too, and idle
time that has an end is cheaper than a disk that nobody deletes. Longer than WATCH_OVERTIME, so that
one that ends at its deadline stays on."""

KEYS_FETCHED_WITHIN = 2 * 3600.0
"""A machine must have fetched its keys by then. Longer than BEGIN_WITHIN."""
KEYS_OUTLIVE = 1800.0
"""Keys outlive the attempt's deadline by this. Longer than COMMIT_BEFORE_KEYS_END."""
COMMIT_BEFORE_KEYS_END = 900.0
"""Where keys end before the deadline, an attempt commits and ends so long before they do."""
