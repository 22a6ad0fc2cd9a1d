"""Who may read: tokens, roles, loopback, and the client's real address behind proxies."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdrhub.config import Role
from cdrhub.web.auth import MAX_FORWARDED_HOPS, MAX_HOP, Guard, Holder, Token

READ = Token(name="bi", token="r" * 16, role=Role.READ, tenant=None)
ADMIN = Token(name="ops", token="a" * 16, role=Role.ADMIN, tenant=None)
PROXIES = (ip_network("10.1.0.0/16"),)


def guard(*tokens: Token) -> Guard:
    return Guard(tokens=tokens, trusted_proxies=PROXIES)


def allows(guard: Guard, *, client: str, authorization: str | None, role: Role) -> bool:
    holder = guard.holder(client=client, authorization=authorization)
    return holder is not None and holder.may(role)


def test_the_holder_is_whose_token_it_is() -> None:
    of_a_tenant = Token(name="acme", token="t" * 16, role=Role.OPERATE, tenant="acme")
    found = guard(READ, of_a_tenant).holder(client="192.0.2.1", authorization=f"Bearer {of_a_tenant.token}")
    assert found == Holder(name="acme", role=Role.OPERATE, tenant="acme")
    everybodys = guard(Token(name="all", token="e" * 16, role=Role.READ, tenant=""))
    found = everybodys.holder(client="192.0.2.1", authorization=f"Bearer {'e' * 16}")
    assert found == Holder(name="all", role=Role.READ, tenant=None)


def test_without_tokens_loopback_reads_and_nobody_else_does() -> None:
    open_guard = guard()
    assert allows(open_guard, client="127.0.0.1", authorization=None, role=Role.READ)
    assert allows(open_guard, client="::1", authorization=None, role=Role.READ)
    assert allows(open_guard, client="::ffff:127.0.0.1", authorization=None, role=Role.READ)
    assert not allows(open_guard, client="::ffff:192.0.2.1", authorization=None, role=Role.READ)
    assert not allows(open_guard, client="127.0.0.1", authorization=None, role=Role.OPERATE)
    assert not allows(open_guard, client="192.0.2.1", authorization=None, role=Role.READ)
    assert not allows(open_guard, client="", authorization=None, role=Role.READ)


def test_with_tokens_loopback_needs_one_too() -> None:
    assert not allows(guard(READ), client="127.0.0.1", authorization=None, role=Role.READ)


@pytest.mark.parametrize(
    ("authorization", "role", "allowed"),
    [
        (f"Bearer {READ.token}", Role.READ, True),
        (f"bearer {READ.token}", Role.READ, True),
        (f"Bearer {READ.token}", Role.OPERATE, False),
        (f"Bearer {ADMIN.token}", Role.OPERATE, True),
        (f"Bearer {READ.token}x", Role.READ, False),
        (f"Basic {READ.token}", Role.READ, False),
        (READ.token, Role.READ, False),
        ("Bearer ", Role.READ, False),
        ("Bearer \udcff", Role.READ, False),
    ],
)
def test_roles(authorization: str, role: Role, allowed: bool) -> None:
    assert allows(guard(READ, ADMIN), client="192.0.2.1", authorization=authorization, role=role) is allowed


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("192.0.2.9", "127.0.0.1", "192.0.2.9"),
        ("10.1.0.1", None, "10.1.0.1"),
        ("10.1.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.1.0.1", "127.0.0.1, 192.0.2.7", "192.0.2.7"),
        ("10.1.0.1", "192.0.2.7, 10.1.0.2", "192.0.2.7"),
        ("10.1.0.1", "192.0.2.7, unknown", "unknown"),  # nobody that an allow-list knows: not the proxy
        ("10.1.0.1", "192.0.2.7,", ""),
        ("10.1.0.1", "x" * 100, "x" * MAX_HOP),
        ("10.1.0.1", "192.0.2.7:4711, 10.1.0.2:80", "192.0.2.7"),
        ("10.1.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:10.1.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.1.0.1", "192.0.2.7, ::ffff:10.1.0.2", "192.0.2.7"),
        ("10.1.0.1", "127.0.0.1, " * MAX_FORWARDED_HOPS + "192.0.2.7", "192.0.2.7"),
        ("10.1.0.1", "127.0.0.1" + ", 10.1.0.2" * MAX_FORWARDED_HOPS, "10.1.0.2"),
    ],
)
def test_the_client_behind_trusted_proxies(peer: str, forwarded: str | None, client: str) -> None:
    assert guard().client(peer, forwarded) == client


@given(st.text(), st.text())
def test_no_header_makes_a_stranger_loopback(forwarded: str, authorization: str) -> None:
    seen = guard().client("192.0.2.9", forwarded)
    assert not allows(guard(), client=seen, authorization=authorization, role=Role.READ)
