"""Deliveries to webhooks: everything once by its id, in order per call, whatever receivers and hubs do."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import pytest
from aiohttp import web

from cdrhub.broadcast import deliveries
from cdrhub.broadcast.deliveries import DeliveryState
from cdrhub.broadcast.events import Selection
from cdrhub.broadcast.health import SCHEDULE, AnswerKind, EndpointState
from cdrhub.broadcast.service import Broadcast
from cdrhub.broadcast.webhooks import REFUSALS_IN_A_ROW, TOUCHED_EVERY
from cdrhub.metrics import Metrics
from support.broadcast import NOON, OTHER_SECRET, SECRET, Received, Receiver, call_id, receiving
from support.broadcasting import PACE, Bench, crm, until


def facts(calls: int, each: int = 3) -> list[tuple[int, int]]:
    """(call, revision): `each` facts of every call, those of one call not one after the other."""
    return [(call, revision) for revision in range(each) for call in range(calls)]


def once(receiver: Receiver, events: int) -> bool:
    """Whether so many events were taken, each once, in order per call."""
    ids = Counter(one.id for one in receiver.taken)
    return len(ids) == events and set(ids.values()) == {1} and receiver.in_order()


async def test_every_event_arrives_once_several_at_a_time_and_in_order_per_call(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)):
        await bench.tell(*facts(calls=40, each=5))
        await until(lambda: len(receiver.taken) >= 200)
        assert once(receiver, 200)
        assert receiver.same_call_at_once == 0
        assert receiver.most_at_once > 1
    assert (await bench.endpoint()).cursor == 200


async def test_what_waits_for_an_event_is_waited_for_as_well(bench: Bench) -> None:
    """An event of a call and of a case that cannot leave yet holds what comes after it of either."""
    await bench.known()
    await bench.tell((1, 1))
    await bench.tell((1, 2), case_id=call_id(9))
    await bench.tell((2, 3), case_id=call_id(9))
    await bench.tell((3, 4))
    let_go = asyncio.Event()
    async with receiving(held={1: let_go}) as receiver, bench.hub(crm(receiver)):
        await until(lambda: {one.number for one in receiver.asked} >= {1, 4})
        await asyncio.sleep(0.1)
        assert {one.number for one in receiver.asked} == {1, 4}
        let_go.set()
        await until(lambda: once(receiver, 4))
    assert [one.number for one in receiver.asked][2:] == [2, 3]


async def test_an_endpoint_gets_what_it_selects_and_another_what_that_one_selects(bench: Bench) -> None:
    async with receiving() as calls, receiving() as cases:
        await bench.known("crm", "cases")
        wanted = crm(cases, name="cases", selection=Selection(types=("case.*",)))
        async with bench.hub(crm(calls, selection=Selection(queues=("800",))), wanted):
            await bench.tell((1, 1))
            await bench.tell((1, 0), type="case.contacted", call_id=None, snapshot={"key": "k", "tenant": ""})
            await until(lambda: bool(calls.taken and cases.taken))
            assert [one.type for one in calls.taken] == ["call.corrected"]
            assert [one.type for one in cases.taken] == ["case.contacted"]
        assert (await bench.endpoint("crm")).cursor == (await bench.endpoint("cases")).cursor == 2


async def test_a_new_endpoint_begins_with_what_comes(bench: Bench) -> None:
    await bench.tell((1, 1))
    await bench.sequencer("one").step()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await until(lambda: hub.events.newest > 0)
        await until(partial(has_endpoint, bench))
        await bench.tell((1, 2))
        await until(lambda: bool(receiver.taken))
        assert [one.number for one in receiver.taken] == [2]


async def has_endpoint(bench: Bench) -> bool:
    """Whether there is one."""
    async with bench.store.database.connect() as connection:
        return bool(await deliveries.endpoints(connection))


async def test_after_a_stop_nothing_is_sent_twice_and_nothing_is_missed(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver:
        async with bench.hub(crm(receiver)):
            await bench.tell(*facts(calls=30))
            await until(lambda: len(receiver.taken) >= 20)
        async with bench.hub(crm(receiver)):
            await until(lambda: len(receiver.taken) >= 90)
        assert once(receiver, 90)


async def test_a_receiver_that_is_down_for_three_days_gets_everything_then(bench: Bench) -> None:
    """Probes come by the schedule, each is the same event, and the events of three days drain afterwards."""
    await bench.known()
    async with receiving(answer=lambda _received: 503) as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell(*facts(calls=10))
        await until(lambda: hub.problems != [])
        begun = len(receiver.asked)
        assert begun <= PACE.at_once
        probes = []
        for _ in range(8):
            probes.append(await probed(bench, receiver=receiver))
            await bench.tell(*((call, len(probes) + 10) for call in range(100)))
        assert len({one.id for one in receiver.asked[begun:]}) == 1
        assert len(receiver.asked) == begun + len(probes)
        assert [after - before for before, after in pairwise([NOON, *probes])] == list(SCHEDULE[1 : len(probes) + 1])
        receiver.answer = lambda _received: 204
        bench.clock.now = NOON + timedelta(days=3)
        await asyncio.sleep(0.05)
        assert receiver.taken == []
        bench.clock.now = NOON + sum(SCHEDULE, timedelta())
        expected = 30 + 100 * len(probes)
        await until(lambda: len(receiver.taken) >= expected)
        assert once(receiver, expected)
        assert hub.problems == []


async def probed(bench: Bench, *, receiver: Receiver) -> datetime:
    """Move the clock to the next probe, and wait until its failure is written; when it was."""

    async def failed(times: int) -> bool:
        return (await bench.endpoint()).health.attempt == times

    await until(lambda: _waits(bench))
    health = (await bench.endpoint()).health
    assert health.next_at is not None
    asked = len(receiver.asked)
    bench.clock.now = health.next_at - timedelta(seconds=1)
    await asyncio.sleep(0.03)
    assert len(receiver.asked) == asked
    bench.clock.now = health.next_at
    await until(lambda: failed(times=health.attempt + 1))
    return bench.clock.now


async def _waits(bench: Bench) -> bool:
    """Whether the webhook fails, and its next attempt is to come."""
    next_at = (await bench.endpoint()).health.next_at
    return next_at is not None and next_at > bench.clock.now


async def test_an_answer_to_what_left_before_it_failed_makes_it_no_healthier(bench: Bench) -> None:
    await bench.known()
    await bench.tell((1, 1), (2, 2))
    let_go = asyncio.Event()
    async with (
        receiving(answer=lambda one: 500 if one.number == 1 else 204, held={2: let_go}) as receiver,
        bench.hub(crm(receiver)) as hub,
    ):
        await until(lambda: len(receiver.asked) == 2 and hub.problems != [])
        let_go.set()
        await until(lambda: len(receiver.taken) == 1)
        await asyncio.sleep(0.1)
        assert hub.problems != []
        assert len(receiver.asked) == 2
        receiver.answer = lambda _received: 204
        bench.pass_time(5)
        await until(lambda: once(receiver, 2))


async def test_one_that_fails_for_ever_is_disabled_until_a_person_says_otherwise(bench: Bench) -> None:
    await bench.known()
    async with receiving(answer=lambda _received: 500) as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1), (1, 2))
        await until(lambda: hub.problems != [])
        for _ in range(len(SCHEDULE) - 1):
            await probed(bench, receiver=receiver)
        assert (await bench.endpoint()).health.state is EndpointState.DISABLED
        assert "disabled" in hub.problems[0]
        assert len(receiver.asked) == len(SCHEDULE)
        bench.pass_time(30 * 86_400)
        await asyncio.sleep(0.1)
        assert len(receiver.asked) == len(SCHEDULE)
        receiver.answer = lambda _received: 204
        before = await deliveries.try_now(bench.store.database, "crm", now=bench.clock.now)
        assert before.health.state is EndpointState.DISABLED
        await until(lambda: len(receiver.taken) >= 2)
        assert once(receiver, 2)


async def test_gone_disables_also_after_a_restart(bench: Bench) -> None:
    await bench.known()
    async with receiving(answer=lambda _received: 410) as receiver:
        async with bench.hub(crm(receiver)) as hub:
            await bench.tell((1, 1))
            await until(lambda: hub.problems != [])
        async with bench.hub(crm(receiver)) as hub:
            await until(lambda: hub.problems != [])
            await bench.tell((2, 1))
            await asyncio.sleep(0.1)
        assert len(receiver.asked) == 1


async def test_retry_after_is_honoured(bench: Bench) -> None:
    await bench.known()

    def later(_received: Received) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "3600"})

    async with receiving(answer=later) as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1))
        await until(lambda: hub.problems != [])
        receiver.answer = lambda _received: 204
        bench.pass_time(3599)
        await asyncio.sleep(0.1)
        assert len(receiver.asked) == 1
        bench.pass_time(1)
        await until(lambda: once(receiver, 1))


async def test_a_single_refused_event_holds_nothing_up_and_can_be_sent_again(bench: Bench) -> None:
    await bench.known()
    async with receiving(answer=lambda one: 422 if one.number == 2 else 204) as receiver:
        async with bench.hub(crm(receiver)):
            await bench.tell((1, 1), (1, 2), (1, 3))
            await until(lambda: len(receiver.taken) >= 2)
            assert [one.number for one in receiver.taken] == [1, 3]
            await until(partial(remembered, bench))
            rows = await bench.deliveries()
            assert [(row.position, row.state, row.last_status) for row in rows] == [(2, DeliveryState.REFUSED, 422)]
            receiver.answer = lambda _received: 204
            assert await deliveries.ask_refused(bench.store.database, "crm", [2], now=bench.clock.now) == 1
            await until(lambda: len(receiver.taken) >= 3)
            assert receiver.taken[2].id == receiver.asked[1].id
        assert [(row.state, row.attempts) for row in await bench.deliveries()] == [(DeliveryState.DELIVERED, 2)]


async def remembered(bench: Bench, *, anything: bool = True) -> bool:
    """Whether anything of single events is remembered, or nothing."""
    return bool(await bench.deliveries()) is anything


async def test_one_that_refuses_everything_fails(bench: Bench) -> None:
    """A wrong URL answers 404: after some, the others wait."""
    await bench.known()
    async with receiving(answer=lambda _received: 404) as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell(*facts(calls=100, each=1))
        await until(lambda: hub.problems != [])
        refused = len(receiver.asked)
        assert refused <= REFUSALS_IN_A_ROW + PACE.at_once
        receiver.answer = lambda _received: 204
        bench.pass_time(5)
        await until(lambda: hub.problems == [])
        await deliveries.ask_refused(bench.store.database, "crm", [], now=bench.clock.now)
        await until(lambda: len(receiver.taken) >= 100)
        assert {one.id for one in receiver.taken} == {one.id for one in receiver.asked}


@pytest.mark.parametrize(("refusals", "fails"), [(REFUSALS_IN_A_ROW - 1, False), (REFUSALS_IN_A_ROW, True)])
async def test_how_many_refusals_in_a_row_make_it_fail(bench: Bench, refusals: int, fails: bool) -> None:
    await bench.known()
    async with receiving(answer=lambda _received: 404) as receiver:
        async with bench.hub(crm(receiver)) as hub:
            await bench.tell(*facts(calls=refusals, each=1))
            await until(lambda: hub.problems != [] if fails else bench.has_come_to(refusals))
        assert (await bench.endpoint()).health.state is (EndpointState.FAILING if fails else EndpointState.HEALTHY)
    assert len(receiver.asked) == refusals


async def test_an_idle_one_is_known_to_be_delivered_to_still(bench: Bench) -> None:
    """Else retention would keep no events for it."""

    async def touched() -> bool:
        return (await bench.endpoint()).updated_at == bench.clock.now

    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1))
        await until(lambda: bench.has_come_to(1))
        bench.clock.now += TOUCHED_EVERY + timedelta(seconds=1)
        await until(touched)
        assert hub.problems == []


async def test_single_refusals_between_others_never_make_it_fail(bench: Bench) -> None:
    await bench.known()
    events = 3 * REFUSALS_IN_A_ROW
    async with (
        receiving(answer=lambda one: 422 if one.number % 2 else 204) as receiver,
        bench.hub(crm(receiver)) as hub,
    ):
        await bench.tell(*((1, number) for number in range(events)))
        await until(lambda: len(receiver.asked) >= events)
        assert hub.problems == []
        assert len(receiver.asked) == events


async def test_an_order_to_try_at_once_is_not_written_over_by_a_probe_that_fails(bench: Bench) -> None:
    """The hub looks for orders now and then; what it writes meanwhile leaves them standing."""
    await bench.known()
    seldom = replace(PACE, control_seconds=1000.0)
    async with receiving(answer=lambda _received: 500) as receiver, bench.hub(crm(receiver), pace=seldom) as hub:
        await bench.tell((1, 1))
        hub.wake()
        await until(lambda: _waits(bench))
        await deliveries.try_now(bench.store.database, "crm", now=bench.clock.now)
        bench.pass_time(5)
        await bench.tell((1, 2))
        hub.wake()
        await until(lambda: len(receiver.asked) >= 3)
        assert {one.number for one in receiver.asked} == {1}


async def test_asking_again_gives_the_same_ids_and_documents(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell(*facts(calls=4))
        await until(lambda: len(receiver.taken) >= 12)
        again = await hub.events.after(3, limit=5)
        assert await deliveries.ask_again(bench.store.database, "crm", again, now=bench.clock.now) == 5
        await until(lambda: len(receiver.taken) >= 17)
        first = {one.id: one.document for one in receiver.taken[:12]}
        assert [first[one.id] for one in receiver.taken[12:]] == [one.document for one in receiver.taken[12:]]
        assert {one.id for one in receiver.taken[12:]} == {one.id for one in receiver.taken[3:8]}


async def test_what_is_asked_for_again_stays_in_order_also_behind_what_has_to_wait(bench: Bench) -> None:
    """The third waits for the second, which waits for the first."""
    await bench.known()
    await bench.tell((1, 1))
    await bench.tell((1, 2), case_id=call_id(9))
    await bench.tell((2, 3), case_id=call_id(9))
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await until(lambda: len(receiver.taken) == 3)
        again = await hub.events.after(0, limit=3)
        await deliveries.ask_again(bench.store.database, "crm", again, now=bench.clock.now)
        await until(lambda: len(receiver.taken) == 6)
    assert [one.number for one in receiver.taken[3:]] == [1, 2, 3]


async def test_all_that_is_asked_for_again_goes_batch_after_batch(bench: Bench) -> None:
    """Also where orders are looked at seldom: more than leaves at once, and some that is not wanted any more."""
    await bench.known()
    events = 5 * PACE.at_once
    wanted = Selection(types=("call.ended",))
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell(*((call, 1) for call in range(events)))
        await bench.tell(*((call, 2) for call in range(events)), type="call.ended")
        await until(lambda: len(receiver.taken) == 2 * events)
        again = await hub.events.after(0, limit=2 * events)
    await deliveries.ask_again(bench.store.database, "crm", again, now=bench.clock.now)
    seldom = replace(PACE, control_seconds=1000.0)
    async with receiving() as receiver, bench.hub(crm(receiver, selection=wanted), pace=seldom):
        await until(lambda: len(receiver.taken) == events)


async def test_what_is_asked_for_again_and_hangs_moves_no_cursor_back(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        await bench.tell((1, 1), (2, 2))
        await until(lambda: len(receiver.taken) == 2)
        receiver.held[1] = asyncio.Event()
        again = await hub.events.after(0, limit=1)
        await deliveries.ask_again(bench.store.database, "crm", again, now=bench.clock.now)
        await until(lambda: len(receiver.asked) == 3)
        await bench.tell((3, 3))
        await until(lambda: bench.has_come_to(3))
        assert hub.problems == [], "it was given up before"
        receiver.held[1].set()


async def test_one_that_hangs_and_one_that_fails_delay_no_other(bench: Bench) -> None:
    await bench.known("good", "hangs", "fails")
    async with receiving() as good, receiving(answer=None) as hangs, receiving(answer=lambda _one: 500) as fails:
        endpoints = [crm(hangs, name="hangs"), crm(fails, name="fails"), crm(good, name="good")]
        async with bench.hub(*endpoints):
            for begin in range(0, 300, 100):
                await bench.tell(*((call, 1) for call in range(begin, begin + 100)))
                await until(lambda expected=begin + 100: len(good.taken) >= expected)  # type: ignore[misc]
            assert once(good, 300)
            assert hangs.taken == fails.taken == []
        hangs.answer = fails.answer = lambda _received: 204
        bench.pass_time(6)
        async with bench.hub(*endpoints):
            await until(lambda: len(hangs.taken) >= 300 and len(fails.taken) >= 300)
            assert once(fails, 300)
            assert {one.id for one in hangs.taken} == {one.id for one in good.taken}


async def test_the_age_of_what_waits_is_told_also_while_it_is_under_way(bench: Bench) -> None:
    await bench.known()
    metrics = Metrics()

    def age() -> float | None:
        return metrics.registry.get_sample_value("cdrhub_webhook_oldest_seconds", {"webhook": "crm"})

    async with receiving(answer=None) as receiver, bench.hub(crm(receiver), metrics=metrics):
        await bench.tell((1, 1))
        await until(lambda: len(receiver.asked) == 1)
        bench.pass_time(10)
        await until(lambda: age() == 10)


async def test_a_secret_is_changed_under_load_without_a_refused_signature(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver, bench.hub(crm(receiver)) as hub:
        before, between, after = (SECRET,), (OTHER_SECRET, SECRET), (OTHER_SECRET,)
        for number, (known, used) in enumerate([(before, before), (before, between), (after, between), (after, after)]):
            hub.take_over([crm(receiver, secrets=used)])
            await bench.tell(*((call, number) for call in range(50)))
            hub.wake()
            await until(lambda expected=50 * (number + 1): len(receiver.taken) >= expected)  # type: ignore[misc]
            assert set(known) <= set(used)
            receiver.secrets = (OTHER_SECRET,) if number >= 1 else (SECRET,)
        assert once(receiver, 200)


async def test_two_hubs_send_nothing_twice(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver:
        async with bench.hub(crm(receiver), holder="one"), bench.hub(crm(receiver), holder="other"):
            for begin in range(0, 400, 40):
                await bench.tell(*((call, begin + call) for call in range(40)))
            await until(lambda: len(receiver.taken) >= 400)
            assert receiver.same_call_at_once == 0
        assert once(receiver, 400)


async def test_when_the_hub_that_sends_dies_the_other_goes_on(bench: Bench) -> None:
    """What was under way comes again, with the id that it had."""
    await bench.known()
    brief, metrics = replace(PACE, lease_seconds=2.0, request_seconds=0.9), Metrics()

    def all_came() -> bool:
        bench.pass_time(1)  # on a busy machine a request fails, and is tried again in time
        return len({one.id for one in receiver.taken}) >= 61

    async with receiving() as receiver, bench.hub(crm(receiver), holder="one", pace=brief, metrics=metrics) as dying:
        await bench.tell((99, 1))
        await until(lambda: bool(receiver.taken))
        async with bench.hub(crm(receiver), holder="other", pace=brief, metrics=metrics):
            await bench.tell(*facts(calls=20))
            await until(lambda: len(receiver.taken) >= 20)
            receiver.answer = None
            await asyncio.sleep(0.05)
            await killed(dying)
            receiver.answer = lambda _received: 204
            await until(all_came)
    assert receiver.in_order()
    failed = {"webhook": "crm", "answer": AnswerKind.FAILED.value}
    sent_again = metrics.registry.get_sample_value("cdrhub_webhook_requests_total", failed) or 0
    assert max(Counter(one.id for one in receiver.taken).values()) <= 2 + sent_again


async def killed(hub: Broadcast) -> None:
    """End a hub's tasks as a crash does: nothing is written, no lease is given back."""
    tasks = [running.task for running in hub._running.values()] + hub._tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_events_that_were_purged_are_counted_and_not_waited_for(bench: Bench) -> None:
    await bench.known()
    await bench.tell((1, 1), (1, 2), (1, 3))
    await bench.sequencer("one").step()

    class Limits:
        raw_days, facts_days = 0, 1

    bench.pass_time(30 * 86_400)
    await bench.store.apply_retention(Limits(), now=bench.clock.now)
    metrics = Metrics()
    async with receiving() as receiver, bench.hub(crm(receiver), metrics=metrics):
        await until(lambda: bool(receiver.taken))
        assert [one.number for one in receiver.taken] == [3]
    assert metrics.registry.get_sample_value("cdrhub_webhook_missed_events_total", {"webhook": "crm"}) == 2
    never = {"webhook": "crm", "answer": "gone"}
    assert metrics.registry.get_sample_value("cdrhub_webhook_requests_total", never) == 0


async def test_an_event_that_is_taken_is_one_of_the_selection_that_was_asked_again(bench: Bench) -> None:
    await bench.known()
    async with receiving() as receiver:
        async with bench.hub(crm(receiver, selection=Selection(types=("call.withdrawn",)))) as hub:
            await bench.tell((1, 1))
            await until(lambda: hub.events.newest == 1)
            await deliveries.ask_again(bench.store.database, "crm", await hub.events.at([1]), now=bench.clock.now)
            await until(partial(remembered, bench, anything=False))
        assert receiver.asked == []
