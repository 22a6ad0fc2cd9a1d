"""The broadcast: public facts in one order, to webhooks and to the live feed (docs/events.md)."""
