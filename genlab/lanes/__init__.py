"""How trials are served: lanes, which are long-lived workers, the mailbox where they meet trials, and the cluster they
have room on. They know Ray, tasks and training, and nothing of what a sweep searches.

The protocol is read in this order: `mailbox`, `client` (what a trial asks), `ray_parts/tune` (where clients live: all
in one process, or each in a `trainable`), `worker` (what a lane answers), `trainer` (a lane's processes), `pool` (all
lanes), `cluster` (their room).
"""
