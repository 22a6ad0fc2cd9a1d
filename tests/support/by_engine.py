"""Which process of pytest-xdist runs which tests."""

from __future__ import annotations

import re
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from support.servers import ENGINES


class ByEngine(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """The tests of an engine go to one process: it alone starts the server, and compiles the statements for it.

    Of a process that dies the test that it was running has failed, and another one runs the rest. Xdist's own schedule
    by scopes gives that test to one process after the other, and waits for ever for the last (3.8).
    """

    def _split_scope(self, nodeid: str) -> str:
        named = re.search(rf"\[.*\b({'|'.join(ENGINES)})\b", nodeid)
        return named[1] if named else nodeid

    def remove_node(self, node: WorkerController) -> str | None:
        work = self.assigned_work.pop(node)
        left = {scope: tests for scope, tests in work.items() if not all(tests.values())}
        if not left:
            return None
        scope = next(iter(left))
        crashed: str = next(test for test, done in left[scope].items() if not done)
        left[scope][crashed] = True
        self.workqueue.update({scope: tests for scope, tests in left.items() if not all(tests.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed

    def _reschedule(self, node: WorkerController) -> None:
        """Give a process work, and more or the word that there is none: it keeps its last test until it has either."""
        super()._reschedule(node)
        super()._reschedule(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByEngine:
    return ByEngine(config, log)
