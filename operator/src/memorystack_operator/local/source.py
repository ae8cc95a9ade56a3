"""The YAML file as the API server: saving it is the apply. A bad save is refused with its reason, the last good one stays.

Knows: one file. Must not know: rollouts.
"""

from __future__ import annotations

from pathlib import Path

from memorystack_operator.api import InvalidResource, Loaded, MemoryStack, load

__all__ = ["Source"]


class Source:
    """`generation` grows with each change of the spec, as at an API server."""

    def __init__(self, path: Path, uid: str, generation: int, known: str) -> None:
        self.path = path
        self._uid = uid
        self._mark: tuple[int, int, int] | None = None
        self._spec = known
        self.generation = generation
        self.refusal = ""
        self.loaded = load(path)
        self._take(self.loaded)
        self._mark = self._stat()

    def read(self) -> bool:
        """Whether something changed: the spec, the Secrets, or the refusal."""
        mark = self._stat()
        if mark == self._mark:
            return False
        self._mark = mark
        before = (self.loaded, self.refusal)
        try:
            loaded = load(self.path)
        except InvalidResource as error:
            self.refusal = str(error)
            return before != (self.loaded, self.refusal)
        self.refusal = self._renamed(loaded)
        if not self.refusal:
            self._take(loaded)
        return before != (self.loaded, self.refusal)

    @property
    def stack(self) -> MemoryStack:
        """The last valid one, with uid and generation as an API server would give them."""
        stack = self.loaded.stack
        metadata = stack.metadata.model_copy(update={"uid": self._uid, "generation": self.generation})
        return stack.model_copy(update={"metadata": metadata})

    @property
    def spec_text(self) -> str:
        """The spec as canonical JSON, to tell at the next start whether it changed meanwhile."""
        return self._spec

    def _take(self, loaded: Loaded) -> None:
        text = loaded.stack.spec.model_dump_json(by_alias=True)
        if text != self._spec:
            self.generation += 1
            self._spec = text
        self.loaded = loaded

    def _renamed(self, loaded: Loaded) -> str:
        new, old = loaded.stack.metadata.name, self.loaded.stack.metadata.name
        if new == old:
            return ""
        return (
            f"{self.path}: metadata.name: was {old} when this stack started, now {new}: end it first (memorystack down)"
        )

    def _stat(self) -> tuple[int, int, int] | None:
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_mtime_ns, stat.st_size
