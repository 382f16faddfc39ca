"""From one recipe to another while the line runs: loaded and proven in the background, taken up between two parts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from inspector.domain.errors import FatalError
from inspector.recipe.store import Recipe
from inspector.roles.active_recipe import ActiveRecipe
from inspector.roles.child import Child
from inspector.roles.shared_worker import Worker

log = logging.getLogger("inspector")

Stage = Literal["checking", "loading", "retiring", "done", "failed"]


class Changeover:
    """One change of the recipe. The line goes on judging by the former one until the new one is proven.

    Checking: the recipe's hashes, in a thread, since reading it may take longer than a deadline. Loading: a worker of
    its own loads, warms up and computes the golden frame; if it ends, the change has failed and nothing happened to
    the line. Retiring: the new worker has taken over, the former one finishes the frames that it has.

    Args:
        folder: Of the recipe.
        who: Who asked for it.
        why: The reason given.
        admit: Opens a recipe, or raises.
        start_worker: Starts a worker for a recipe that waits to be armed.

    Attributes:
        stage: Where it stands.
        problem: Why it failed.
        recipe: The new recipe, once it is checked.
        worker: Its worker, from loading on; the former worker while that retires.
    """

    def __init__(
        self,
        folder: Path,
        who: str,
        why: str,
        admit: Callable[[Path], Recipe],
        start_worker: Callable[[Recipe], Child],
    ) -> None:
        self.folder = folder
        self.who = who
        self.why = why
        self.stage: Stage = "checking"
        self.problem = ""
        self.recipe: ActiveRecipe | None = None
        self.worker: Worker | None = None
        self._start_worker = start_worker
        self._retiring_since_ns = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="recipe")
        self._checked: Future[ActiveRecipe] = self._thread.submit(lambda: ActiveRecipe(admit(folder)))

    @property
    def under_way(self) -> bool:
        """False once it is done or has failed."""
        return self.stage not in ("done", "failed")

    def describe(self) -> str:
        """One line for people."""
        return f"{self.folder}: {self.stage}" + (f", {self.problem}" if self.problem else "")

    def advance(self, now_ns: int) -> bool:
        """Moves on as far as it goes without waiting.

        Returns:
            True at the moment when the new worker is proven and may take over (`take_over`).
        """
        if self.stage == "checking" and self._checked.done():
            self._take_up(now_ns)
        elif self.stage == "loading":
            assert self.worker is not None
            if self.worker.watch(now_ns):
                self.fail(f"its worker ended with exit code {self.worker.exit_code}; the reason stands in the log")
            else:
                return self.worker.ready
        return False

    def _take_up(self, now_ns: int) -> None:
        try:
            self.recipe = self._checked.result()
            self.worker = self._start_worker(self.recipe.recipe)
            self.worker.start(now_ns)
        except (FatalError, OSError) as error:
            self.fail(str(error))
            return
        self._thread.shutdown(wait=False)
        self.stage = "loading"

    def take_over(self, former: Worker, now_ns: int) -> tuple[ActiveRecipe, Worker]:
        """The new recipe and its worker, armed; the former worker is kept until it has finished."""
        assert self.recipe is not None
        assert self.worker is not None
        new = self.worker
        new.tell("arm")
        self.worker, self._retiring_since_ns, self.stage = former, now_ns, "retiring"
        return self.recipe, new

    def may_leave(self, now_ns: int, patience_ns: int) -> bool:
        """True once the former worker has been retiring for so long."""
        return self.stage == "retiring" and now_ns - self._retiring_since_ns > patience_ns

    def finished(self) -> None:
        """The former worker is gone."""
        self.stage, self.worker = "done", None

    def fail(self, problem: str) -> None:
        """Ends it without a change; a worker that was started is ended."""
        log.error("recipe %s is not taken up: %s", self.folder, problem)
        self.stage, self.problem = "failed", problem
        self._thread.shutdown(wait=False)
        if self.worker is not None:
            self.worker.dismiss()
            self.worker = None
