"""A call of mod_callcenter, event by event: a caller who enters a queue at second 0; a test says what happens then."""

from __future__ import annotations

from cdrhub.model.call import Call
from cdrhub.model.disposition import Role
from cdrhub.model.fold import fold
from support.freeswitch import Switch, updated

SESSION, MEMBER = "6844f513-f0ac-4a9f-b4bc-938481dced81", "bbd09347-13cd-4909-86a0-621def095c91"
AGENT_CHANNEL = "b4f3a6e9-f1a0-4082-a51b-2afaeb395ef6"


class QueueCall:
    """A caller who enters a queue at second 0; the tests say what happens then."""

    def __init__(self, session: str = SESSION, switch: Switch | None = None) -> None:
        self.session = session
        self.switch = switch or Switch()
        self.bodies: list[bytes] = []

    def member(self, member: str = MEMBER) -> dict[str, str]:
        return {
            "CC-Queue": "3000@default",
            "CC-Member-UUID": member,
            "CC-Member-Session-UUID": self.session,
            "CC-Member-CID-Name": "Jean Dupont",
            "CC-Member-CID-Number": "+33140300001",
        }

    def channel(
        self, *, created: float = 0, gone: float | None = None, cause: str = "", by: str = ""
    ) -> dict[str, str]:
        headers = {
            "Unique-ID": self.session,
            "Call-Direction": "inbound",
            "Caller-Destination-Number": "3000",
            "Caller-Channel-Created-Time": Switch.micro(created),
            "Caller-Channel-Answered-Time": Switch.micro(created),
            "Caller-Channel-Hangup-Time": Switch.micro(gone) if gone is not None else "0",
            "variable_cc_side": "member",
        }
        if cause:
            headers["Hangup-Cause"] = cause
        if by:
            headers["variable_sip_hangup_disposition"] = by
        return headers

    def start(self, at: float = 0, member: str = MEMBER) -> None:
        self.bodies.append(self.switch.callcenter("member-queue-start", self.member(member) | self.channel(), at=at))

    def offering(self, at: float, agent: str = "alice@default") -> None:
        said = self.member() | {"CC-Agent": agent}
        self.bodies.append(self.switch.callcenter("agent-offering", said, at=at))

    def fail(self, at: float, cause: str, *, called: float, agent: str = "alice@default") -> None:
        said = self.member() | {
            "CC-Agent": agent,
            "CC-Hangup-Cause": cause,
            "CC-Agent-Called-Time": Switch.second(called),
            "CC-Agent-Aborted-Time": Switch.second(at),
        }
        self.bodies.append(self.switch.callcenter("bridge-agent-fail", said, at=at))

    def answer(self, at: float, *, called: float, agent: str = "alice@default", channel: str = AGENT_CHANNEL) -> None:
        said = self.member() | self._agent(at, called=called, agent=agent, channel=channel)
        self.bodies.append(self.switch.callcenter("bridge-agent-start", said, at=at))

    def agent_end(
        self, at: float, *, called: float, answered: float, agent: str = "alice@default", bridged: str = "true"
    ) -> None:
        said = self.member() | self._agent(answered, called=called, agent=agent, channel=AGENT_CHANNEL)
        said |= {"CC-Agent-Bridged": bridged, "CC-Bridge-Terminated-Time": Switch.second(at)}
        self.bodies.append(self.switch.callcenter("bridge-agent-end", said, at=at))

    @staticmethod
    def _agent(answered: float, *, called: float, agent: str, channel: str) -> dict[str, str]:
        return {
            "CC-Agent": agent,
            "CC-Agent-UUID": channel,
            "CC-Agent-Called-Time": Switch.second(called),
            "CC-Agent-Answered-Time": Switch.second(answered),
            "variable_dialed_user": "1001",
        }

    def cancel(self, at: float, reason: str, *, member: str = MEMBER, joined: float = 0, alive: bool = False) -> None:
        said = self.member(member) | {
            "CC-Cause": "Cancel",
            "CC-Cancel-Reason": reason,
            "CC-Member-Joined-Time": Switch.second(joined),
            "CC-Member-Leaving-Time": Switch.second(at),
        }
        said |= self.channel() if alive else self.channel(cause="NORMAL_CLEARING", by="recv_bye")
        self.bodies.append(self.switch.callcenter("member-queue-end", said, at=at))

    def hangup(self, at: float, **variables: str) -> None:
        said = self.channel(gone=at, cause="NORMAL_CLEARING", by="recv_bye")
        said |= {f"variable_{name}": value for name, value in variables.items()}
        self.bodies.append(self.switch.event("CHANNEL_HANGUP_COMPLETE", said, at=at))

    @property
    def call(self) -> Call:
        return fold([updated(body) for body in self.bodies])


def agents(call: Call) -> list[tuple[str | None, str, str | None]]:
    return [(leg.agent_id, leg.outcome, leg.cause) for leg in call.legs if leg.role == Role.AGENT]
