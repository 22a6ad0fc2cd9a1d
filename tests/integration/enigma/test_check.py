"""`cdrhub check --online` looks at the dialler's Redis, takes nothing, and shows no password."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import redis

from cdrhub.sources.transports.redis_list import lease_of
from support.redis import RedisServer, running

KEY = "enigma:notifications:campaigns"


def checked(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    config = folder / "config.toml"
    config.write_text(
        f'[hub]\ndata_dir = "{folder / "data"}"\n[database]\nurl = "sqlite:///{folder / "hub.db"}"\n'
        f'[http]\nlisten = "127.0.0.1:0"\n[sources.dialler]\ntype = "enigma"\nredis = "{url}"\n'
    )
    command = [sys.executable, "-m", "cdrhub", "check", "--online", "--config", str(config)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_a_redis_that_is_reached(redis_server: RedisServer, dialler: redis.Redis, tmp_path: Path) -> None:
    dialler.lpush(KEY, "one", "two")
    dialler.set(lease_of(KEY), "\x1b]0;hub\x07")
    done = checked(tmp_path, redis_server.url)
    assert done.returncode == 0, done.stderr
    assert f"sources.dialler: {KEY}: 2 waiting, read by \\x1b]0;hub\\x07" in done.stdout
    assert "Nothing while this hub is away or dies" in done.stdout
    assert dialler.llen(KEY) == 2


def test_a_redis_that_refuses_and_one_that_is_away(tmp_path: Path) -> None:
    with running(password="right") as server:
        refused = checked(tmp_path, f"redis://:hunter2@127.0.0.1:{server.port}/0")
        server.stop()
        away = checked(tmp_path, server.url)
    assert (refused.returncode, away.returncode) == (69, 69)
    assert "sources.dialler: Redis refuses us" in refused.stderr
    assert "hunter2" not in refused.stdout + refused.stderr
    assert "sources.dialler: Redis: Error 111" in away.stderr


def test_a_url_that_is_none_is_named_and_not_shown(tmp_path: Path) -> None:
    done = checked(tmp_path, "redis://:hunter2@dialler:port/0")
    assert done.returncode == 78
    assert "is no URL of a Redis" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr
