"""Which recipe the line judges by, and the change to another one while it runs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from inspector.domain.errors import FatalError
from inspector.outputs.audit_log import AuditLog
from inspector.recipe.store import Recipe, point_to
from inspector.roles.active_recipe import ActiveRecipe
from inspector.roles.changeover import Changeover
from inspector.roles.child import Child
from inspector.roles.shared_worker import Worker

log = logging.getLogger("inspector")

#: A worker whose recipe was replaced stays at least so long, and until the camera process sends to the new one and its
#: own last part has a verdict.
_RETIREMENT_NS = 1_000_000_000


class RecipeDesk:
    """The recipe in use, the one before it, and one that is on its way.

    Args:
        recipe: In use from the start.
        link: Path by which the configuration names the recipe; moved with a change if it is a link.
        audit: Where changes are written down.
        admit: Opens a recipe of this station, or raises.
        make_worker: A worker for a recipe, not started.

    Attributes:
        active: The recipe in use.
        link: The path by which the configuration names it.
    """

    def __init__(
        self,
        recipe: Recipe,
        link: Path,
        audit: AuditLog,
        admit: Callable[[Path], Recipe],
        make_worker: Callable[[Recipe], Child],
    ) -> None:
        self.active = ActiveRecipe(recipe)
        self._known = {self.active.hash: self.active}
        self._former: Path | None = None
        self.link = link
        self._audit = audit
        self._admit = admit
        self._make_worker = make_worker
        self._change: Changeover | None = None

    @property
    def beside(self) -> Worker | None:
        """The worker that comes or goes during a change, beside the one in use."""
        return None if self._change is None else self._change.worker

    def judge_of(self, recipe_hash: bytes) -> ActiveRecipe | None:
        """The recipe that a result was computed with, if it may judge: in use, or just replaced."""
        return self._known.get(recipe_hash)

    def describe(self) -> str:
        """How a change stands, for people."""
        return "none" if self._change is None else self._change.describe()

    def begin(self, folder: Path, who: str, why: str) -> None:
        """Begins to take up another recipe; the line goes on meanwhile (`Changeover`).

        Raises:
            FatalError: A change is under way.
        """
        self.check_idle()
        self._change = Changeover(folder, who, why, self._admit, self._make_worker)

    def check_idle(self) -> None:
        """Raises FatalError if a change is under way."""
        if self._change is not None and self._change.under_way:
            raise FatalError(f"a change is under way ({self._change.describe()}); wait for its end")

    def begin_rollback(self, who: str, why: str) -> None:
        """Begins to take up the recipe that was in use before.

        Raises:
            FatalError: There was none, or a change is under way.
        """
        if self._former is None:
            raise FatalError("no other recipe was in use since the daemon started; name one with activate")
        self.begin(self._former, who, why)

    def worker_died(self) -> None:
        """The worker in use is gone: a change that has not taken over yet is given up, numbers would cross."""
        if self._change is not None and self._change.stage in ("checking", "loading"):
            self._change.fail("the worker in use died meanwhile; ask again when the line runs")

    def advance(self, worker: Worker, now_ns: int) -> Worker | None:
        """Moves a change on as far as it goes without waiting.

        Args:
            worker: The worker in use.
            now_ns: Monotonic time.

        Returns:
            The worker of the new recipe at the moment when it takes over, armed; else None.
        """
        change = self._change
        if change is None or not change.under_way or change.stage == "retiring" or not change.advance(now_ns):
            return None
        problem = self._on_record(change)
        if problem is not None:
            change.fail(problem)
            return None
        former, self._former = self.active, self.active.recipe.folder
        self.active, new = change.take_over(worker, now_ns)
        self._known = {former.hash: former, self.active.hash: self.active}
        log.warning("recipe %s is in use, in place of %s", self.active.recipe.folder, self._former)
        return new

    def retire(self, now_ns: int, at_work: Callable[[int], bool]) -> int | None:
        """Lets the former worker go when it has finished.

        Args:
            now_ns: Monotonic time.
            at_work: True while the worker of this number has parts, or may get some.

        Returns:
            Its number once it is gone, by itself or otherwise; else None.
        """
        change = self._change
        if change is None or change.stage != "retiring" or change.worker is None:
            return None
        former = change.worker
        if change.may_leave(now_ns, _RETIREMENT_NS) and not at_work(former.incarnation):
            former.retire()
        if not former.watch(now_ns) and former.alive:
            return None
        self._known = {self.active.hash: self.active}
        change.finished()
        return former.incarnation

    def _on_record(self, change: Changeover) -> str | None:
        """Writes the change to the audit log and moves the configuration's link; why that can't be done."""
        assert change.recipe is not None
        facts = {
            "recipe": str(change.folder),
            "recipe_hash": change.recipe.recipe.content_hash,
            "former_hash": self.active.recipe.content_hash,
        }
        try:
            self._audit.append("activated", who=change.who, why=change.why, **facts)
            point_to(self.link, change.folder)
        except OSError as error:
            return f"it can't be put on record: {error}"
        return None
