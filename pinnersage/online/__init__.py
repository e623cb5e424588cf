"""Online: what users do today moves what they are shown today (paper, section 4.2).

    events      one event as it comes: what it must be, and why it is refused
    state       a user's latest actions: merged in any order, packed
    update      stored clusters and later actions to clusters as of now: the pure function
    agreement   how near what it gives is to what a batch gives
    intake      events into the state, whatever brings them
    feedback    impressions and engagements, from the state's journal to the lake
    sources     where events come from: HTTP, Redis Streams, Kafka
    consume     the loop around a source
    latest      the state of a user, for who reads; whatever is wrong with the store
    current     a user's stored clusters and state together: clusters as of now

Only the latest actions are state. Clusters are brought up to date when they are read, with the
release that is read: so a release takes over between two reads, and there is nothing to rebuild.
"""

from pinnersage.online.update import Actions, Clusters, Updated, update

__all__ = ["Actions", "Clusters", "Updated", "update"]
