"""Open calls are set right by what the switch knows: a scripted switch, calls made by the real decoder and fold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from cdrhub.errors import IntakeRefused, NotConnected, StoreUnavailable
from cdrhub.model.agent import AgentState
from cdrhub.model.call import Call
from cdrhub.model.disposition import Outcome
from cdrhub.model.fold import fold
from cdrhub.model.inference import decode_inference, encode_inference
from cdrhub.model.record import INFERENCE, RawRecord
from cdrhub.model.update import CallUpdate
from cdrhub.sources.freeswitch.agents import MAX_AGENTS, AgentsHeard
from cdrhub.sources.freeswitch.config import FreeSwitchConfig
from cdrhub.sources.freeswitch.esl.errors import CommandFailed
from cdrhub.sources.freeswitch.headers import PlainHeaders
from cdrhub.sources.freeswitch.reconcile import LIVING_AFTER, MAX_CHANNELS, closed, living, reconcile
from support.freeswitch import RECEIVED, Switch, updated, updates_of
from support.intake import RecordingIntake
from support.records import raw_record

SESSION, MEMBER, AGENT = "6f0c7c4e-s1", "6f0c7c4e-m1", "alice@default"
QUEUE, BLANK = "support@default", "Sales Team@default"
JOINED, BRIDGED = 5, 30
COLUMNS = (
    "queue|instance_id|uuid|session_uuid|cid_number|cid_name|system_epoch|joined_epoch|rejoined_epoch|bridge_epoch"
    "|abandoned_epoch|base_score|skill_score|serving_agent|serving_system|state|score"
)
AGENT_COLUMNS = "name|contact|status|state|last_bridge_start|last_bridge_end|last_offered_call|last_status_change"
LONG = timedelta(minutes=5)


class ScriptedSwitch:
    """Answers api commands from what it holds."""

    def __init__(self, *, alive: Iterable[str] = (), members: Sequence[str] = ()) -> None:
        self.alive = set(alive)
        self.members = members
        self.queues = [QUEUE]
        self.channels: list[dict[str, str]] = []
        self.agents: Sequence[str] = ()
        self.asked: list[str] = []
        self.refused: tuple[str, ...] = ()
        self.too_many = False

    async def api(self, command: str) -> str:
        self.asked.append(command)
        if command.startswith(self.refused or "\0"):
            raise CommandFailed(f"-ERR {command.split(maxsplit=1)[0]} Command not found!\n")
        if command == "callcenter_config queue list":
            return "\n".join(["name|strategy", *(f"{queue}|ring-all" for queue in self.queues), "+OK\n"])
        if command in (f"callcenter_config queue list members {name}" for name in (QUEUE, f"'{BLANK}'")):
            return "\n".join([COLUMNS, *self.members, "+OK"]) if self.members else "+OK\n"
        if command == "callcenter_config agent list":
            return "\n".join([AGENT_COLUMNS, *self.agents, "+OK"]) if self.agents else "+OK\n"
        if command == "show channels count":
            return f"\n{MAX_CHANNELS + 1 if self.too_many else len(self.channels)} total.\n"
        if command == "show channels as json":
            return orjson.dumps({"row_count": len(self.channels), "rows": self.channels}).decode()
        name, _, uuid = command.partition(" ")
        assert name == "uuid_exists"
        return "true" if uuid in self.alive else "false"


def member(state: str = "Waiting", *, bridged: bool = False, session: str = SESSION, name: str = "Jane|Doe") -> str:
    answered = Switch.second(BRIDGED) if bridged else "0"
    agent = AGENT if bridged else ""
    return (
        f"{QUEUE}|single_box|{MEMBER}|{session}|0639980001|{name}|{Switch.second(0)}|{Switch.second(JOINED)}|0|{answered}"
        f"|0|0|0|{agent}|single_box|{state}|1"
    )


def channel(uuid: str, **values: str) -> dict[str, str]:
    row = {"uuid": uuid, "direction": "inbound", "created_epoch": Switch.second(0), "call_uuid": uuid}
    return row | {"initial_cid_num": "0639980001", "initial_cid_name": "Jane", "initial_dest": "7000"} | values


def started(*, agent: bool = False) -> list[CallUpdate]:
    """What the switch told of a caller in the queue, and of the agent who answered."""
    switch = Switch()
    common = {
        "CC-Queue": QUEUE,
        "CC-Member-UUID": MEMBER,
        "CC-Member-Session-UUID": SESSION,
        "CC-Member-CID-Name": "Jane Doe",
        "CC-Member-CID-Number": "0639980001",
    }
    caller = {
        "Unique-ID": SESSION,
        "Call-Direction": "inbound",
        "Caller-Caller-ID-Number": "0639980001",
        "Caller-Destination-Number": "7000",
        "Caller-Channel-Created-Time": switch.micro(0),
        "variable_cc_queue_joined_epoch": switch.second(JOINED),
    }
    events = [switch.callcenter("member-queue-start", common | caller, at=JOINED)]
    if agent:
        answer = {
            "CC-Agent": AGENT,
            "CC-Agent-UUID": "a1",
            "CC-Agent-Called-Time": switch.second(20),
            "CC-Agent-Answered-Time": switch.second(BRIDGED),
            "CC-Member-Joined-Time": switch.second(JOINED),
            "variable_dialed_user": "1001",
        }
        events.append(switch.callcenter("bridge-agent-start", common | answer, at=BRIDGED))
    return [updated(event, region="NL") for event in events]


def told(intake: RecordingIntake) -> list[CallUpdate]:
    """The inferences as the pipeline decodes them."""
    return [inferred(inference) for inference in intake.inferences]


def inferred(inference: Any) -> CallUpdate:
    update = decode_inference(journaled(inference))
    assert isinstance(update, CallUpdate)
    return update


def journaled(inference: Any) -> RawRecord:
    return raw_record(encode_inference(inference), source="pbx", received_at=RECEIVED, content_type=INFERENCE)


def holding(*calls: Call, silent_for: timedelta = LONG) -> RecordingIntake:
    intake = RecordingIntake()
    intake.calls = [(call, silent_for) for call in calls]
    return intake


async def run(switch: ScriptedSwitch, intake: RecordingIntake, **config: Any) -> None:
    settings = FreeSwitchConfig(password="ClueCon", region="NL", **config)
    await reconcile(switch, intake, config=settings, heard=AgentsHeard(), confirm_seconds=0)


class TestCallsThatAreGone:
    async def test_a_caller_who_left_while_nobody_looked_is_closed_and_how_is_not_known(self) -> None:
        seen = started()
        intake = holding(fold(seen))
        await run(ScriptedSwitch(), intake)
        call = fold([*seen, *told(intake)])
        assert (call.state, call.disposition, call.ended_at) == ("ended", "unknown", None)
        assert (call.wait_seconds, call.duration_seconds) == (None, None)
        assert call.flags == ("end_inferred", "reconciled")
        assert [leg.outcome for leg in call.legs] == ["unknown"]
        assert intake.counts["reconciled"] == 1

    async def test_a_call_that_an_agent_had_is_answered_and_its_talk_is_not_known(self) -> None:
        seen = started(agent=True)
        intake = holding(fold(seen))
        await run(ScriptedSwitch(), intake)
        call = fold([*seen, *told(intake)])
        assert (call.state, call.disposition, call.agent_id) == ("ended", "answered", AGENT)
        assert (call.wait_seconds, call.talk_seconds, call.ended_at) == (25, None, None)

    async def test_where_every_leg_was_seen_to_end_the_last_one_is_the_end(self) -> None:
        seen = updates_of("04-timeout.plain.esl")
        call = fold(seen)
        assert call.state != "ended"
        intake = holding(call)
        await run(ScriptedSwitch(), intake)
        after = fold([*seen, *told(intake)])
        assert after.ended_at == max(leg.left_at for leg in call.legs if leg.left_at)
        assert after.disposition == "abandoned"

    def test_where_one_leg_was_not_seen_to_end_nothing_says_when_the_call_did(self) -> None:
        call = fold(started(agent=True))
        first, *others = call.legs
        assert others
        inference = closed(replace(call, legs=(replace(first, left_at=Switch.moment(40)), *others)))
        assert inference["values"] == {"state": "ended"}

    def test_it_comes_after_all_that_was_seen_of_the_call(self) -> None:
        assert closed(fold(started(agent=True)))["at"] == Switch.moment(BRIDGED).isoformat()

    @pytest.mark.parametrize("capture", ["01-answered-caller-hangs-up", "03-abandoned", "08-blind-transfer"])
    async def test_any_record_of_the_switch_outranks_it(self, capture: str) -> None:
        whole = updates_of(f"{capture}.plain.esl", f"{capture}.json_cdr.json")
        key = whole[0].call_key
        updates = [update for update in whole if update.call_key == key]
        intake = holding(fold(updates[:1]))
        await run(ScriptedSwitch(), intake)
        (closing,) = told(intake)
        assert fold([*updates, closing]) == fold(updates) == fold([closing, *reversed(updates)])

    async def test_two_hubs_write_the_same_record(self) -> None:
        bodies = set()
        for _ in range(2):
            intake = holding(fold(started(agent=True)))
            await run(ScriptedSwitch(members=[member("Answered", bridged=True)]), intake)
            bodies |= {encode_inference(said) for said in intake.inferences}
        assert len(bodies) == 1

    async def test_a_call_whose_channel_lives_stays_open(self) -> None:
        intake = holding(fold(started()))
        await run(ScriptedSwitch(alive=[SESSION]), intake)
        assert intake.inferences == []

    async def test_a_call_of_which_something_was_heard_just_now_is_not_asked_for(self) -> None:
        intake = holding(fold(started()), silent_for=timedelta(seconds=1))
        switch = ScriptedSwitch()
        await run(switch, intake)
        assert intake.inferences == []
        assert f"uuid_exists {SESSION}" not in switch.asked

    async def test_a_call_that_ends_by_itself_while_the_switch_is_asked_is_left_alone(self) -> None:
        intake = holding(fold(started()))

        class Ending(ScriptedSwitch):
            async def api(self, command: str) -> str:
                answer = await super().api(command)
                if command.startswith("uuid_exists"):
                    intake.calls = []  # its last event came
                return answer

        await run(Ending(), intake)
        assert intake.inferences == []

    @pytest.mark.parametrize("key", ["a b", "x\ny", "a;b", "", "-all", "ü", "x" * 256])
    async def test_a_key_that_could_be_another_command_is_never_sent(self, key: str) -> None:
        update = CallUpdate(call_key=key, kind="x", digest=b"1", values={"started_at": RECEIVED})
        intake = holding(fold([update]))
        switch = ScriptedSwitch()
        await run(switch, intake)
        assert not [command for command in switch.asked if command.startswith("uuid_exists")]
        assert intake.inferences == []

    async def test_members_who_are_listed_for_hours_keep_no_call_open(self) -> None:
        seen = started(agent=True)
        intake = holding(fold(seen))
        await run(ScriptedSwitch(members=[member("Answered", bridged=True)]), intake)
        assert fold([*seen, *told(intake)]).state == "ended"


class TestCallsThatNobodyTold:
    async def test_a_caller_in_a_queue_becomes_a_call(self) -> None:
        intake = RecordingIntake()
        switch = ScriptedSwitch(members=[member()])
        switch.channels = [channel(SESSION)]
        await run(switch, intake)
        (update,) = told(intake)
        call = fold([update])
        assert (call.call_key, call.state, call.direction) == (SESSION, "queued", "inbound")
        assert (call.caller_number, call.caller_name, call.dialed_number) == ("0639980001", "Jane|Doe", "7000")
        assert call.external_number == "+31639980001"
        assert (call.started_at, call.queued_at) == (Switch.moment(0), Switch.moment(JOINED))
        assert (call.queue, call.flags) == (QUEUE, ("reconciled",))

    async def test_a_queue_that_is_not_listed_hides_no_other(self) -> None:
        intake, switch = holding(), ScriptedSwitch(alive=[SESSION], members=[member()])
        switch.queues = ["first@default", QUEUE]
        switch.refused = ("callcenter_config queue list members first@default",)
        await run(switch, intake)
        assert [update.call_key for update in told(intake)] == [SESSION]
        assert intake.counts["members_not_listed"] == 1

    async def test_a_blank_in_a_queues_name_is_part_of_it(self) -> None:
        intake, switch = RecordingIntake(), ScriptedSwitch(alive=[SESSION], members=[member()])
        switch.queues = [BLANK]
        await run(switch, intake)
        assert [update.call_key for update in told(intake)] == [SESSION]
        assert intake.counts["members_not_listed"] == 0

    @pytest.mark.parametrize("name", ["it's@default", 'a"b', "a\\b", "a\tb", "a\xa0b", "x" * 256])
    async def test_a_queue_whose_name_could_be_another_command_is_counted_and_hides_no_other(self, name: str) -> None:
        intake, switch = RecordingIntake(), ScriptedSwitch(alive=[SESSION], members=[member()])
        switch.queues = [name, QUEUE]
        await run(switch, intake)
        assert [update.call_key for update in told(intake)] == [SESSION]
        assert intake.counts["members_not_listed"] == 1

    async def test_one_with_an_agent_is_answered(self) -> None:
        intake = RecordingIntake()
        await run(ScriptedSwitch(alive=[SESSION], members=[member("Answered", bridged=True)]), intake)
        (update,) = told(intake)
        assert update.at == Switch.moment(BRIDGED)
        call = fold([update])
        assert (call.state, call.agent_id, call.wait_seconds) == ("answered", AGENT, BRIDGED - JOINED)
        assert call.answered_at == Switch.moment(BRIDGED)

    async def test_an_answer_that_was_missed_is_told(self) -> None:
        seen = started()
        intake = holding(fold(seen), silent_for=timedelta(seconds=1))
        await run(ScriptedSwitch(alive=[SESSION], members=[member("Answered", bridged=True)]), intake)
        call = fold([*seen, *told(intake)])
        assert (call.state, call.agent_id, call.started_at) == ("answered", AGENT, Switch.moment(0))
        assert {leg.role: leg.outcome for leg in call.legs} == {"queue": "answered", "agent": "answered"}

    async def test_the_events_that_come_later_make_it_the_same_call(self) -> None:
        intake = RecordingIntake()
        switch = ScriptedSwitch(members=[member("Answered", bridged=True, name="Jane Doe")])
        switch.channels = [channel(SESSION)]
        await run(switch, intake)
        events = started(agent=True)
        assert fold([*told(intake), *events]) == fold(events)

    async def test_what_is_known_is_not_told_again(self) -> None:
        intake = holding(fold(started(agent=True)))
        await run(ScriptedSwitch(alive=[SESSION], members=[member("Answered", bridged=True)]), intake)
        assert intake.inferences == []

    async def test_a_caller_whose_call_ends_while_the_switch_is_asked_was_not_missed(self) -> None:
        intake = holding(fold(started()), silent_for=timedelta(seconds=1))

        class Ending(ScriptedSwitch):
            async def api(self, command: str) -> str:
                answer = await super().api(command)
                if command.startswith("uuid_exists"):
                    intake.calls = []  # its last event came
                return answer

        await run(Ending(alive=[SESSION], members=[member()]), intake)
        assert intake.inferences == []

    @pytest.mark.parametrize("state", ["Abandoned", "Unknown", ""])
    async def test_members_who_are_gone_are_no_calls(self, state: str) -> None:
        intake = RecordingIntake()
        await run(ScriptedSwitch(alive=[SESSION], members=[member(state)]), intake)
        assert intake.inferences == []

    async def test_a_member_without_a_channel_is_no_call(self) -> None:
        intake = RecordingIntake()
        await run(ScriptedSwitch(members=[member("Answered", bridged=True)]), intake)
        assert intake.inferences == []

    async def test_a_caller_who_came_a_moment_ago_will_be_told_by_events(self) -> None:
        now = str(int(datetime.now(UTC).timestamp()))
        intake = RecordingIntake()
        fresh = member().replace(Switch.second(JOINED), now)
        await run(ScriptedSwitch(alive=[SESSION], members=[fresh]), intake)
        assert intake.inferences == []

    async def test_a_switch_whose_clock_is_ahead_is_believed_all_the_same(self) -> None:
        ahead = str(int(datetime.now(UTC).timestamp()) + 3600)
        intake, switch = RecordingIntake(), ScriptedSwitch(members=[member().replace(Switch.second(JOINED), ahead)])
        switch.channels = [channel(SESSION), channel("outside", created_epoch=ahead)]
        await run(switch, intake, calls="all")
        assert sorted(update.call_key for update in told(intake)) == [SESSION, "outside"]

    @pytest.mark.parametrize(("outcome", "times"), [(Outcome.NO_ANSWER, 0), (Outcome.UNKNOWN, 1)])
    async def test_an_answer_after_another_attempt_at_the_agent_is_left_to_the_events(
        self, outcome: Outcome, times: int
    ) -> None:
        call = fold(started(agent=True))
        legs = [replace(leg, outcome=outcome, answered_at=None) if leg.parent_leg else leg for leg in call.legs]
        intake = holding(replace(call, legs=tuple(legs)), silent_for=timedelta(seconds=1))
        await run(ScriptedSwitch(alive=[SESSION], members=[member("Answered", bridged=True)]), intake)
        assert len(intake.inferences) == times

    async def test_one_who_waits_again_has_no_answer_that_was_missed(self) -> None:
        intake = holding(fold(started()), silent_for=timedelta(seconds=1))
        await run(ScriptedSwitch(alive=[SESSION], members=[member("Waiting", bridged=True)]), intake)
        assert intake.inferences == []

    async def test_an_answer_of_this_moment_will_be_told_by_its_event(self) -> None:
        now = str(int(datetime.now(UTC).timestamp()))
        intake = holding(fold(started()), silent_for=timedelta(seconds=1))
        fresh = member("Answered", bridged=True).replace(Switch.second(BRIDGED), now)
        await run(ScriptedSwitch(alive=[SESSION], members=[fresh]), intake)
        assert intake.inferences == []

    async def test_a_caller_in_a_queue_is_told_once_where_every_call_is_of_interest(self) -> None:
        intake = RecordingIntake()
        switch = ScriptedSwitch(members=[member()])
        switch.channels = [channel(SESSION)]
        await run(switch, intake, calls="all")
        assert [update.kind for update in told(intake)] == ["inference.member"]

    async def test_a_call_outside_queues_that_ends_while_the_switch_is_asked_was_not_missed(self) -> None:
        intake = holding(fold(started()), silent_for=timedelta(seconds=1))

        class Ending(ScriptedSwitch):
            async def api(self, command: str) -> str:
                answer = await super().api(command)
                if command == "show channels as json":
                    intake.calls = []  # its last event came
                return answer

        switch = Ending()
        switch.channels = [channel(SESSION)]
        await run(switch, intake, calls="all")
        assert intake.inferences == []

    @pytest.mark.parametrize(("calls", "keys"), [("queue", []), ("all", ["direct"])])
    async def test_calls_outside_queues_are_told_where_every_call_is_of_interest(
        self, calls: str, keys: list[str]
    ) -> None:
        intake = RecordingIntake()
        switch = ScriptedSwitch()
        switch.channels = [
            channel("direct", call_uuid=""),
            channel("its-leg", direction="outbound", call_uuid="direct"),
            channel("joined", call_uuid="direct"),
            channel("inner side", name="loopback/1001-b"),
        ]
        await run(switch, intake, calls=calls)
        assert [update.call_key for update in told(intake)] == keys
        if keys:
            call = fold(told(intake))
            assert (call.direction, call.started_at) == ("inbound", Switch.moment(0))


class TestCallsThatLive:
    async def test_a_call_of_which_nothing_was_heard_for_hours_is_said_to_live(self) -> None:
        seen = started(agent=True)
        intake = holding(fold(seen), silent_for=LIVING_AFTER)
        await run(ScriptedSwitch(alive=[SESSION]), intake)
        (update,) = told(intake)
        assert update.call_key == SESSION
        assert fold([*seen, update]) == fold(seen)

    async def test_of_one_that_cannot_be_asked_for_nobody_says_that_it_lives(self) -> None:
        intake = holding(replace(fold(started()), call_key="no argument"), silent_for=LIVING_AFTER)
        await run(ScriptedSwitch(), intake)
        assert intake.inferences == []

    def test_it_is_one_record_for_a_whole_stretch(self) -> None:
        call = fold(started())
        moments = (RECEIVED + timedelta(hours=hours) for hours in (0, 2, 5.9, 6, 11.9, 12))
        assert len({encode_inference(living(call, now=now)) for now in moments}) == 3


def listed(status: str, state: str, *, offered: int = 0, began: int = 0, ended: int = 0, set_at: int = 0) -> str:
    """A row of `agent list`; seconds of the test's day, 0 for never."""
    times = (Switch.second(at) if at else "0" for at in (began, ended, offered, set_at))
    return "|".join((AGENT, "user/1001|odd", status, state, *times))


def changed(status: str = "", state: str = "") -> PlainHeaders:
    """The event that tells so."""
    action, name, word = ("agent-status-change", "CC-Agent-Status", status)
    if state:
        action, name, word = ("agent-state-change", "CC-Agent-State", state)
    return PlainHeaders(Switch().callcenter(action, {"CC-Agent": AGENT, name: word}, at=1))


class TestAgents:
    async def seen(self, row: str, *events: PlainHeaders) -> list[tuple[str, str, datetime | None, tuple[str, ...]]]:
        """What one reconciliation tells of the agent in `row`, after these events."""
        heard, intake, switch = AgentsHeard(), RecordingIntake(), ScriptedSwitch()
        for event in events:
            heard.note(event)
        switch.agents = [row]
        settings = FreeSwitchConfig(password="ClueCon")
        for _ in range(2):  # the second one has nothing to add
            await reconcile(switch, intake, config=settings, heard=heard, confirm_seconds=0)
        states = [state_inferred(inference) for inference in intake.inferences]
        assert intake.counts["agents_reconciled"] == len(states)
        assert {state.agent_id for state in states} <= {AGENT}
        return [(state.kind.value, state.state_raw, state.at, state.flags) for state in states]

    @pytest.mark.parametrize(
        ("row", "state_at"),
        [
            (listed("Available", "In a queue call", set_at=10, offered=20, began=30), 30),
            (listed("Available", "Waiting", set_at=10, offered=20, began=30, ended=40), 40),
            (listed("Available", "Receiving", set_at=10, offered=50, began=30, ended=40), 50),
            # Offered a call since the last one ended, and waiting again: when he stopped ringing is not listed.
            (listed("Available", "Waiting", set_at=10, offered=50, began=30, ended=40), None),
        ],
    )
    async def test_what_no_event_told(self, row: str, state_at: int | None) -> None:
        state = row.split("|")[4]
        assert await self.seen(row) == [
            ("status", "Available", Switch.moment(10), ("reconciled",)),
            ("state", state, None if state_at is None else Switch.moment(state_at), ("reconciled",)),
        ]

    async def test_what_an_event_told_is_not_told_again(self) -> None:
        row = listed("On Break", "Waiting", set_at=10, ended=9)
        assert await self.seen(row, changed(status="On Break"), changed(state="Waiting")) == []
        only_the_break = await self.seen(row, changed(status="Available"), changed(state="Waiting"))
        assert [said[:3] for said in only_the_break] == [("status", "On Break", Switch.moment(10))]

    async def test_an_agent_of_whom_the_file_alone_tells_says_nothing(self) -> None:
        assert await self.seen(listed("Available", "Waiting")) == []

    async def test_a_status_that_was_never_set_is_that_of_the_file(self) -> None:
        told_of = await self.seen(listed("Available", "In a queue call", began=30))
        assert [said[:2] for said in told_of] == [("state", "In a queue call")]

    def test_words_are_remembered_of_so_many_agents_and_no_more(self) -> None:
        heard = AgentsHeard()
        for number in range(MAX_AGENTS + 1):
            agent = {"CC-Agent": f"agent-{number}", "CC-Agent-Status": "Available"}
            heard.note(PlainHeaders(Switch().callcenter("agent-status-change", agent, at=1)))
        assert 0 < len(heard.so_far()) <= MAX_AGENTS

    async def test_a_change_of_this_moment_will_be_told_by_its_event(self) -> None:
        now = str(int(datetime.now(UTC).timestamp()))
        assert await self.seen(listed("On Break", "Waiting", set_at=10).replace(Switch.second(10), now)) == []

    async def test_a_change_by_a_clock_that_is_ahead_is_told(self) -> None:
        ahead = str(int(datetime.now(UTC).timestamp()) + 3600)
        (status, _) = await self.seen(listed("On Break", "Waiting", set_at=10).replace(Switch.second(10), ahead))
        assert status[:2] == ("status", "On Break")

    async def test_who_changes_while_the_switch_is_asked_is_left_to_the_events(self) -> None:
        heard, intake = AgentsHeard(), RecordingIntake()

        class Changing(ScriptedSwitch):
            async def api(self, command: str) -> str:
                if command == "show channels count":
                    heard.note(changed(status="Logged Out"))
                return await super().api(command)

        switch = Changing()
        switch.agents = [listed("Available", "", set_at=10)]
        await reconcile(switch, intake, config=FreeSwitchConfig(password="x"), heard=heard, confirm_seconds=0)
        assert intake.inferences == []

    async def test_the_same_state_of_another_time_is_another_record(self) -> None:
        bodies = set()
        for offered in (50, 60, 60):
            switch, intake = ScriptedSwitch(), RecordingIntake()
            switch.agents = [listed("Available", "Waiting", set_at=10, offered=offered, ended=40)]
            await run(switch, intake)
            bodies |= {encode_inference(said) for said in intake.inferences if said["kind"] == "state"}
        assert len(bodies) == 2


def state_inferred(inference: Any) -> AgentState:
    """A state of an agent, as the pipeline decodes it."""
    state = decode_inference(journaled(inference))
    assert isinstance(state, AgentState)
    return state


class TestASwitchThatAnswersInPart:
    async def test_without_mod_callcenter_channels_are_asked_all_the_same(self) -> None:
        intake = holding(fold(started()))
        switch = ScriptedSwitch()
        switch.refused = ("callcenter_config",)
        await run(switch, intake)
        assert [update.kind for update in told(intake)] == ["inference.channel_gone"]
        assert intake.counts["members_not_listed"] == intake.counts["agents_not_listed"] == 1

    async def test_more_channels_than_fit_into_an_answer_are_asked_one_by_one(self) -> None:
        intake = holding(fold(started()))
        switch = ScriptedSwitch(alive=[SESSION])
        switch.too_many = True
        await run(switch, intake)
        assert "show channels as json" not in switch.asked
        assert f"uuid_exists {SESSION}" in switch.asked
        assert intake.inferences == []

    async def test_without_a_list_of_channels_they_are_asked_one_by_one(self) -> None:
        intake = holding(fold(started()))
        switch = ScriptedSwitch(alive=[SESSION])
        switch.refused = ("show",)
        await run(switch, intake)
        assert intake.inferences == []
        assert intake.counts["channels_not_listed"] == 1

    async def test_a_switch_that_does_not_say_whether_a_channel_exists_closes_nothing(self) -> None:
        class Strange(ScriptedSwitch):
            async def api(self, command: str) -> str:
                return "perhaps\n" if command.startswith("uuid_exists") else await super().api(command)

        intake = holding(fold(started()))
        await run(Strange(), intake)
        assert intake.inferences == []

    async def test_a_link_that_breaks_closes_nothing(self) -> None:
        class Broken(ScriptedSwitch):
            async def api(self, command: str) -> str:
                if command.startswith("uuid_exists"):
                    raise NotConnected("gone")
                return await super().api(command)

        intake = holding(fold(started()))
        with pytest.raises(NotConnected):
            await run(Broken(), intake)
        assert intake.inferences == []

    async def test_without_the_database_nothing_is_concluded(self) -> None:
        intake = holding(fold(started()))
        intake.database_away = True
        with pytest.raises(StoreUnavailable):
            await run(ScriptedSwitch(), intake)
        intake.database_away, intake.refusing = False, True
        with pytest.raises(IntakeRefused):
            await run(ScriptedSwitch(), intake)
        assert intake.inferences == []
