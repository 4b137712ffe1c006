"""Plain-text progress of notebooks that run headless: which cell, how long, its heading, and the notebook's own lines.

Lines go to one stream and read well in a terminal, in `make` and in the log of a CI job: no control codes but where
the stream is a terminal, and a sign of life every half minute of silence.

    0:00:04  cell 3/9  Coverage of the collection
           | made lexicon/muse in 2 s
"""

import threading
import time
from typing import TextIO

SILENCE = 30.0  # seconds after which a running cell is reported again


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> clock(3725.4)
    '1:02:05'
    """
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


class Progress:
    """Reports the cells of one notebook; also the file that its standard output is copied to."""

    def __init__(self, stream: TextIO, cells: dict[int, str], silence: float = SILENCE, mark: str = "") -> None:
        """Args: `stream`; `cells`, index of code cell → heading above it; `silence` in seconds; `mark` of each line."""
        self.stream, self.cells, self.silence, self.mark = stream, cells, silence, mark
        self.started = time.monotonic()
        self.at: int | None = None  # index of the running cell
        self._order = {index: number for number, index in enumerate(cells, 1)}
        self._rest, self._shown = "", 0.0
        self._lock = threading.Lock()
        self._over = threading.Event()

    def __enter__(self) -> "Progress":
        self._alive = threading.Thread(target=self._beat, daemon=True)
        self._alive.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._alive.join()
        if self._rest:
            self.write("\n")

    @property
    def seconds(self) -> float:
        """Time since the notebook was started."""
        return time.monotonic() - self.started

    def cell(self, index: int) -> None:
        """Says that a code cell starts."""
        if index in self.cells and index != self.at:
            self.at = index
            self._say(f"{clock(self.seconds):>9}  {self._name()}")

    def write(self, text: str) -> int:
        """Copies what the notebook prints, whole lines only; of a line that redraws itself, its last state."""
        lines = (self._rest + text).split("\n")
        self._rest = lines.pop()
        for line in lines:
            last = [part for part in line.split("\r") if part.strip()][-1:]
            if last:
                self._say(f"{'':>9}| {last[0].rstrip()}")
        if "\r" in self._rest:
            self._redrawn()
        return len(text)

    def flush(self) -> None:
        """Does nothing: each line is flushed when written."""

    def _redrawn(self) -> None:
        """Shows a bar that redraws itself, but not more often than every five seconds."""
        parts = [part for part in self._rest.split("\r") if part.strip()]
        self._rest = "\r" + parts[-1] if parts else ""
        if parts and time.monotonic() - self._shown > 5:
            self._say(f"{'':>9}| {parts[-1].rstrip()}")

    def _name(self) -> str:
        heading = self.cells[self.at]
        return f"cell {self._order[self.at]}/{len(self.cells)}  {heading}".rstrip()

    def _say(self, line: str) -> None:
        with self._lock:
            self._shown = time.monotonic()
            # In one piece: other notebooks may write to the same stream.
            self.stream.write(f"{self.mark}{line}\n")
            self.stream.flush()

    def _beat(self) -> None:
        while not self._over.wait(min(1.0, self.silence)):
            if self.at is not None and time.monotonic() - self._shown >= self.silence:
                self._say(f"{clock(self.seconds):>9}  {self._name()} … still running")
