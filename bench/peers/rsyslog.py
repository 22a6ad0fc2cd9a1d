"""rsyslog: imtcp → ompgsql, plain inserts into a table of text columns, no normalising, no archive.

The configuration is that of rsyslog's documentation with its default queues; the fields of a 3CX line become columns
by the property replacer (`field.delimiter`, `field.number`). https://www.rsyslog.com/doc/configuration/modules/ompgsql.html
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import can_connect
from support.servers import free_port

COLUMNS = [
    "historyid",
    "callid",
    "duration",
    "time_start",
    "time_answered",
    "time_end",
    "reason_terminated",
    "from_no",
    "to_no",
    "from_dn",
    "to_dn",
    "dial_no",
    "reason_changed",
    "final_number",
    "final_dn",
    "bill_code",
    "bill_rate",
    "bill_cost",
    "bill_name",
    "chain",
]
TABLE = (
    "CREATE TABLE lines (id bigserial PRIMARY KEY, received timestamptz, "
    + ", ".join(f"{name} text" for name in COLUMNS)
    + ")"
)


def program() -> str | None:
    """Where rsyslogd is, or None."""
    return shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin")


def _configuration(*, port: int, url: str, work: Path) -> str:
    fields = "\n".join(
        f"""  constant(value="', '") property(name="rawmsg" field.delimiter="44" field.number="{number}")"""
        for number in range(1, len(COLUMNS) + 1)
    )
    return f"""
module(load="imtcp")
module(load="ompgsql")
global(workDirectory="{work}")
template(name="row" type="list" option.stdsql="on") {{
  constant(value="INSERT INTO lines (received, {", ".join(COLUMNS)}) VALUES ('")
  property(name="timegenerated" dateFormat="pgsql" date.inUTC="on")
{fields}
  constant(value="')")
}}
input(type="imtcp" port="{port}" address="127.0.0.1")
action(type="ompgsql" conninfo="{url}" template="row" action.resumeRetryCount="-1")
"""


@contextmanager
def running(*, url: str, work: Path) -> Iterator[int]:
    """rsyslogd that writes what comes on the port (yielded) into the table `lines` of the database at `url`."""
    rsyslogd = program()
    if rsyslogd is None:
        raise FileNotFoundError("rsyslogd is not on this machine: apt-get install rsyslog rsyslog-pgsql")
    port = free_port()
    configuration = work / "rsyslog.conf"
    configuration.write_text(_configuration(port=port, url=url, work=work))
    process = subprocess.Popen(
        [rsyslogd, "-n", "-f", str(configuration), "-i", str(work / "rsyslog.pid")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        while not can_connect(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("rsyslogd does not start")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(30)
