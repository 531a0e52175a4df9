"""What a person sees while waiting: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any, Self

from ..errors import one_of, shown

STYLES = ("auto", "bar", "lines", "none")


class Progress:
    """A bar ("bar"), a line every tenth and minute ("lines"), or nothing ("none"); "auto" is a bar on a terminal, else lines.

    A context, which leaves no bar behind: it hides the cursor.
    """

    def __init__(self, style: str = "auto"):
        one_of("progress", style, STYLES)
        if style == "auto" and sys.stderr is None:  # as under pythonw
            style = "none"
        elif style == "auto":
            style = "bar" if sys.stderr.isatty() else "lines"
        self.style = style
        self.bar: Any = None
        self.task: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self.style == "none":
            return
        if self.bar is not None:
            self.bar.console.print(shown(text), highlight=False, markup=False)
        else:
            print(shown(text), file=sys.stderr, flush=True)

    def start(self, title: str, total: int, done: int = 0) -> None:
        self.stop()  # what counted before may have failed
        self.title, self.total, self.printed = title, total, time.monotonic()
        if self.style != "bar":
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
        )
        self.bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
        self.bar.start()
        self.task = self.bar.add_task(title, total=total, completed=done, facts="")

    def step(self, done: int, facts: str = "") -> None:
        """`done` of the total, with a few words about it."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done, facts=facts and self._fitting(facts))
        elif self.style == "lines" and facts and (self._tenth(done) or time.monotonic() - self.printed > 60):
            self.printed = time.monotonic()
            print(f"{self.title} {done}/{self.total}  {facts}", file=sys.stderr, flush=True)

    def _tenth(self, done: int) -> bool:
        return done == self.total or done % max(1, self.total // 10) == 0

    def _fitting(self, facts: str) -> str:
        """Those that have room beside a short bar, the count and the time: a number cut short would be another."""
        room = self.bar.console.width - len(f"{self.title}{self.total}/{self.total}") - 22
        parts = facts.split("  ")
        while parts and len("  ".join(parts)) > room:
            parts.pop()
        return "  ".join(parts)

    def stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
        self.bar = None

    def counter(self, title: str) -> Any:
        """A `progress(done, total)` for the preparation of a dataset; it stops by itself at the end."""

        def count(done: int, total: int) -> None:
            if self.style == "bar":
                if (self.bar is None or self.title != title) and done < total:
                    self.start(title, total)
                self.step(done)
                if done == total:
                    self.stop()
            elif self.style == "lines" and time.monotonic() - getattr(self, "counted", count_from) > 10:
                self.counted = time.monotonic()
                print(f"{title} {done}/{total}", file=sys.stderr, flush=True)

        count_from = time.monotonic()
        return count
