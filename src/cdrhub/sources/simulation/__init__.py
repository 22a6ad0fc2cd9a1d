"""What all simulated phone systems share: one believable contact centre, a virtual clock, a ledger of the truth."""
