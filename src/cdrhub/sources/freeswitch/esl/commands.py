"""Commands of the Event Socket, and what their answers say.

A command ends at an empty line, so a line break inside one would let whoever wrote a part of it (a number, a name)
write commands. It is refused, not escaped: there is no escape.
https://developer.signalwire.com/freeswitch/FreeSWITCH-Explained/Modules/mod_commands_1966741/
"""

from __future__ import annotations

import re

from cdrhub.sources.freeswitch.esl.errors import MAX_SHOWN, CommandFailed, CommandRefused

COMMAND_SECONDS = 10.0  #: until a command is answered
MAX_COMMAND_BYTES = 32 * 1024  #: of one command, everything included

_FORBIDDEN = re.compile(r"[\n\r\x00]")
_UUID = re.compile(r"[0-9A-Za-z-]{1,64}")


def api_line(command: str) -> str:
    """`command` as a blocking api command."""
    return f"api {_checked(command)}"


def bgapi_line(command: str, *, job_uuid: str) -> str:
    """`command` as a background job whose result comes as event BACKGROUND_JOB with this Job-UUID."""
    if _UUID.fullmatch(job_uuid) is None:
        raise CommandRefused(f"{job_uuid[:MAX_SHOWN]!r} is no id of a job: letters, digits and hyphens, 64 at most")
    return f"bgapi {_checked(command)}\nJob-UUID: {job_uuid}"


def _checked(command: str) -> str:
    if not command.strip():
        raise CommandRefused("an empty command")
    if _FORBIDDEN.search(command):
        raise CommandRefused("a command must not hold line breaks or NUL")
    try:
        size = len(command.encode())
    except UnicodeEncodeError as error:
        raise CommandRefused("a command that is no text") from error
    if size > MAX_COMMAND_BYTES:
        raise CommandRefused(f"a command of {size} bytes, more than {MAX_COMMAND_BYTES}")
    return command


def successful(answer: str) -> str:
    """`answer` itself, unless it is an error: CommandFailed. FreeSWITCH writes `-ERR …`, or `-USAGE: …`."""
    if answer.startswith(("-ERR", "-USAGE")):
        raise CommandFailed(answer.strip())
    return answer
