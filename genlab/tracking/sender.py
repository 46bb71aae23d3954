"""One sender for each pair of sweep and server: two at once could make a run twice."""

from __future__ import annotations

import hashlib

from genlab.errors import GenlabError
from genlab.tracking.address import normal, shown
from genlab.tracking.claims import Heartbeat, Taken
from genlab.tracking.storage import Storage


class Busy(GenlabError):
    """Another process sends this sweep there now; it ends some time."""


def claim(folder: Storage, tracking_uri: str) -> Heartbeat:
    """Hold the right to send the sweep in `folder` to this address, however it is written, until `stop` is called.

    Raises:
        Busy: another process has it.
        StorageError: the folder cannot be written.
    """
    name = hashlib.sha256(normal(tracking_uri).encode()).hexdigest()[:16]
    try:
        return Heartbeat(folder, f"senders/{name}", "a sender")
    except Taken as taken:
        who = f"{taken.claim}" if taken.claim is not None else "another process"
        raise Busy(f"{who} sends it to {shown(tracking_uri)} now") from None
