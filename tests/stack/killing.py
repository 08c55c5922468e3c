"""Arrivals while workers are killed at random, and what must come of them in the end."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from local.simulator.seed import LOYALTY
from tests.stack.scene import Scene

SINGLE, WINDOW, MARKER = "single/{n}.jsonl", "window/{n}.jsonl", "marked/{n}.jsonl"
ROUTES = {
    "routes": [
        {"name": "single", "match": "single/**", "datasetId": LOYALTY},
        {
            "name": "window",
            "match": "window/**",
            "datasetId": LOYALTY,
            "batch": {"window": "1m"},
        },
        {
            "name": "marked",
            "match": "marked/**",
            "datasetId": LOYALTY,
            "batch": {"marker": "_SUCCESS"},
        },
    ]
}
LIMITS = {"outcomeSeconds": 1}
# Half a minute at most, for little files: so long, and as long again, the work of a killed worker
# waits. What it is with the default parameters follows, as leases are made of these.
PARAMETERS: dict[str, Any] = {
    "DeliverBatches": "true",
    "seconds": {
        **dict.fromkeys(("OnArrival", "OnMarker", "OnDue", "OnDelivery"), 30),
        "OnUpload": 15,
    },
}
# Between two ticks, where the rule's are a minute apart.
TICK_SECONDS = 5
SENDERS = 4


# Often enough to hit most, and seldom enough for some to get something done where all is slow.
PAUSE_SECONDS = (0.5, 3.0)
# After the last file, until all are hit: most functions work only once others have.
MORE_SECONDS = 300
# A function that was hit is spared for so long, else none gets anything done on a slow machine: a
# worker takes seconds to start, and what is due waits for on_tick.
SPARED_SECONDS = 15


@dataclass
class Killer:
    """Kills one worker of a scene after the other, of the function that was hit least so far."""

    scene: Scene
    chance: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    _spared: dict[str, float] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    def _not_hit(self) -> set[str]:
        """The functions that it has not hit; without those that answer, as nobody asks."""
        functions = {name for name in self.scene.outputs if name.endswith("Function")}
        return functions - {"OnRequestFunction", "OnWidgetFunction"} - self.killed.keys()

    @contextmanager
    def at_large(self) -> Iterator[None]:
        """While this lasts, and longer until it has hit every function."""
        thread = threading.Thread(target=self._kill, daemon=True)
        thread.start()
        try:
            yield
            deadline = time.monotonic() + MORE_SECONDS
            while self._not_hit() and time.monotonic() < deadline:
                time.sleep(0.5)
        finally:
            self._over.set()
            thread.join()
        print(f"killed: {dict(self.killed)}")
        assert self._not_hit() == set()

    def _kill(self) -> None:
        while not self._over.wait(self.chance.uniform(*PAUSE_SECONDS)):
            workers, now = self.scene.workers(), time.monotonic()
            alive = sorted({name for _, name in workers if self._spared.get(name, 0) <= now})
            if not alive:
                continue
            function = min(alive, key=lambda name: (self.killed[name], self.chance.random()))
            pid = self.chance.choice([pid for pid, name in workers if name == function])
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it has ended by itself
            self.killed[function] += 1
            self._spared[function] = now + SPARED_SECONDS


def keys(number: int) -> list[str]:
    """So many files: some for a batch each, some for windows, some for a marker."""
    kinds = [SINGLE] * 3 + [WINDOW] * 4 + [MARKER] * 3
    return [kinds[n % len(kinds)].format(n=n) for n in range(number)]


def send(scene: Scene, number: int, *, seconds: float) -> None:
    """Put the files, spread over that time; the marker is the last. Each is a row, its number."""
    began = time.monotonic()

    def put(named: tuple[int, str]) -> None:
        n, key = named
        time.sleep(max(0.0, began + seconds * n / number - time.monotonic()))
        scene.put(key, row(n))

    with ThreadPoolExecutor(SENDERS) as pool:
        list(pool.map(put, enumerate(keys(number))))
    scene.put("marked/_SUCCESS", b"")


def row(n: int) -> bytes:
    return b'{"n": %d}\n' % n


def loaded(scene: Scene) -> Counter[int]:
    """How often each file is in batches that succeeded in AEP."""
    return Counter(
        json.loads(line)["n"]
        for batch in scene.aep.batches()
        if batch.members["status"] == "success"
        for content in scene.aep.files(batch.id).values()
        for line in content.read().splitlines()
    )


def delivered_once(scene: Scene, number: int, *, seconds: float) -> None:
    """Every file is in exactly one batch that succeeded, and nothing else stands in AEP.

    seconds: in which that must come true.
    """
    deadline = time.monotonic() + seconds
    while missing := unfinished(scene, number):
        assert time.monotonic() < deadline, f"not within {seconds} s: {sorted(missing)}"
        time.sleep(1)
    assert loaded(scene) == dict.fromkeys(range(number), 1)
    assert Counter(batch["externalId"] for batch in made(scene)).most_common(1)[0][1] == 1
    assert {batch["status"] for batch in made(scene)} == {"success"}
    assert scene.stack.parked() == []


def made(scene: Scene) -> list[Any]:
    """Batches of AEP but those that were made twice, noticed, and aborted while empty."""
    return [
        batch.members
        for batch in scene.aep.batches()
        if batch.members["status"] != "aborted" or batch.files
    ]


def unfinished(scene: Scene, number: int) -> set[str]:
    """Keys of files that are in no batch that succeeded; then batches whose end nobody told."""
    there = loaded(scene)
    files = {key for n, key in enumerate(keys(number)) if n not in there}
    return files or {batch["externalId"] for batch in made(scene)} - ended(scene)


def ended(scene: Scene) -> set[str]:
    """External ids of the batches that are told to have succeeded."""
    return {detail["externalId"] for detail in scene.details("Batch Succeeded")}
