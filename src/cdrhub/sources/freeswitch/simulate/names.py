"""What the contact centre's queues and agents are called in mod_callcenter."""

from __future__ import annotations

from typing import Final

from cdrhub.sources.simulation.planned import Agent, Queue

DOMAIN: Final = "default"


def queue_name(queue: Queue) -> str:
    """The name of a queue: `sales@default`."""
    return f"{queue.name.lower().replace(' ', '-')}@{DOMAIN}"


def agent_name(agent: Agent) -> str:
    """The name of an agent: `101@default`."""
    return f"{agent.extension}@{DOMAIN}"
