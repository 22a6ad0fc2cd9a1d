"""When a lease may be trusted without asking the database."""

from __future__ import annotations

from cdrhub.store.leases import Lease


def test_a_lease_is_dropped_at_half_its_life_and_renewed_long_before() -> None:
    clock = [100.0]
    lease = Lease(name="x", holder="one", fence=1, life=60.0, taken=100.0, clock=lambda: clock[0])
    assert (lease.safe, lease.wants_renewal) == (True, False)
    clock[0] = 110.0
    assert (lease.safe, lease.wants_renewal) == (True, True)
    clock[0] = 130.0
    assert not lease.safe
