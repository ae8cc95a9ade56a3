"""The newest known state of all watched objects, by stack. Knows records; nothing of where they come from.

Each object only ever moves forward: an event that arrives late does not undo what a list, or our own write, brought.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from memorystack_operator.shell.records import ChildRecord, PodRecord, Record, StackRecord
from memorystack_operator.shell.resources import DEPLOYMENTS, PODS, STACKS, Resource
from memorystack_operator.shell.schedule import Key

__all__ = ["Store"]


class Store:
    """Belongs to one thread."""

    def __init__(self) -> None:
        self._objects: dict[tuple[Resource, Key], Record] = {}
        self._by_stack: dict[Key, set[tuple[Resource, Key]]] = defaultdict(set)
        self._buried: dict[tuple[Resource, Key], int] = {}

    def put(self, record: Record) -> bool:
        """Whether it was news."""
        place = (record.resource, record.key)
        known = self._objects.get(place)
        if known and known.order >= record.order and (known.uid == record.uid or known.order > record.order):
            return False
        if record.order <= self._buried.get(place, 0):
            return False
        self._forget(place)
        self._objects[place] = record
        self._by_stack[record.stack].add(place)
        return True

    def drop(self, resource: Resource, key: Key, order: int) -> Record | None:
        """It was deleted at that version; what was known of it, or None where a newer object has its name."""
        place = (resource, key)
        known = self._objects.get(place)
        self._buried[place] = max(order, self._buried.get(place, 0))
        if known is None or known.order > order:
            return None
        return self._forget(place)

    def prune(self, resource: Resource, namespace: str, alive: Iterable[Key], order: int) -> list[Record]:
        """Removes what a whole list (at that version; of one namespace, or all) no longer holds: ghosts of a dead watch."""
        kept = set(alive)
        gone = [
            place
            for place, record in self._objects.items()
            if place[0] == resource
            and place[1] not in kept
            and record.order <= order
            and namespace in ("", place[1].namespace)
        ]
        self._buried = {place: at for place, at in self._buried.items() if place[0] != resource or at > order}
        return [record for place in gone if (record := self._forget(place))]

    def stack(self, key: Key) -> StackRecord | None:
        """The resource itself."""
        found = self._objects.get((STACKS, key))
        return found if isinstance(found, StackRecord) else None

    def stacks(self) -> list[Key]:
        """All that are there."""
        return [key for resource, key in self._objects if resource == STACKS]

    def pods(self, stack: Key) -> list[PodRecord]:
        """Oldest first."""
        found = [r for r in self._of(stack) if isinstance(r, PodRecord)]
        return sorted(found, key=lambda r: (r.created_at, r.key))

    def pod(self, key: Key) -> PodRecord | None:
        """By its own name."""
        found = self._objects.get((PODS, key))
        return found if isinstance(found, PodRecord) else None

    def child(self, resource: Resource, key: Key) -> ChildRecord | None:
        """By its own name."""
        found = self._objects.get((resource, key))
        return found if isinstance(found, ChildRecord) else None

    def children(self, stack: Key) -> list[ChildRecord]:
        """All that carry the stack's labels."""
        return [r for r in self._of(stack) if isinstance(r, ChildRecord)]

    def deployment(self, stack: Key) -> ChildRecord | None:
        """The main one."""
        return self.child(DEPLOYMENTS, stack)

    def _of(self, stack: Key) -> list[Record]:
        return [self._objects[place] for place in self._by_stack.get(stack, ())]

    def _forget(self, place: tuple[Resource, Key]) -> Record | None:
        record = self._objects.pop(place, None)
        if record:
            places = self._by_stack[record.stack]
            places.discard(place)
            if not places:
                del self._by_stack[record.stack]
        return record
