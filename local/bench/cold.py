"""The part of `make bench` about cold starts: each function beside the least that it could load."""

import json
import subprocess
from contextlib import suppress
from statistics import median

from local.bench.figures import Figure, Section
from local.bench.workers import Workers
from local.children import ChildFailed
from local.runtime import PYTHON

# Nothing to do, for the worker to start.
IDLE = {"Records": [], "httpMethod": "GET", "resource": "/"}
IMPORT = """
import importlib, json, sys, time
began = time.perf_counter(), time.process_time()
importlib.import_module(sys.argv[1])
ended = time.perf_counter(), time.process_time()
print(json.dumps([1000 * (b - a) for a, b in zip(began, ended)]))
"""
MOST = 1.10


def cold(stacks: list[Workers], runs: int) -> Section:
    """Each handler next to its floor, in turns, so that both meet the same noise."""
    figures = []
    for workers in stacks:
        for name, made in workers.functions.items():
            module = made.handler.partition(".")[0]
            with workers.runtime(name, "probe") as worker:
                clients = worker.invoke({"import": [module]})["clients"]
            workers.environments[name]["FLOOR_CLIENTS"] = ",".join(clients)
            floors, ours = [], []
            for turn in range(runs):
                if turn % 2:  # whoever comes first, the other is not favoured by it
                    floors.append(_start(workers, name, "floor"))
                ours.append(_start(workers, name, module))
                if not turn % 2:
                    floors.append(_start(workers, name, "floor"))
            for way in floors[0]:
                # Of the turns' ratios: other work on the machine comes and goes between turns.
                ratio = median(
                    mine[way] / floor[way] for mine, floor in zip(ours, floors, strict=True)
                )
                floor, mine = (median(start[way] for start in some) for some in (floors, ours))
                shown = f"{mine:.0f} ms, {floor:.0f} ms: {ratio:.2f}"
                limit = None if way == "CPU time" else MOST
                figures.append(Figure(f"{module}, {way}", shown, ratio, limit))
    return Section(f"Cold start ÷ floor, medians of {runs} and of their ratios", tuple(figures))


def _start(workers: Workers, name: str, module: str) -> dict[str, float]:
    """Milliseconds, by way of starting."""
    imported = subprocess.run(
        [str(PYTHON), "-c", IMPORT, module],
        cwd=workers.functions[name].code,
        env=workers.environments[name],
        capture_output=True,
        text=True,
        check=False,
    )
    if imported.returncode:
        raise ChildFailed(imported.stderr)
    wall, cpu = json.loads(imported.stdout)
    with workers.runtime(name, module) as worker:
        with suppress(ChildFailed):  # of on_upload, which is never given nothing; it has started
            worker.invoke(IDLE)
        return {"runtime emulator": worker.init, "fresh process": wall, "CPU time": cpu}
