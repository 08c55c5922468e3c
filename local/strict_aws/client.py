"""A test's side of the local AWS: injects faults into it, takes them back, and fills buckets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import requests

from local.strict_aws.faults import Fault


@dataclass(frozen=True)
class Injector:
    """endpoint: of the local AWS; authority: a PEM file that vouches for it."""

    endpoint: str
    authority: Path

    def inject(self, fault: Fault) -> str:
        """Let it befall calls from now on. Returns its id."""
        return str(self._call("POST", "", asdict(fault)))

    @contextmanager
    def injected(self, *faults: Fault) -> Iterator[list[str]]:
        """They stand meanwhile; gives their ids."""
        numbers = [self.inject(fault) for fault in faults]
        try:
            yield numbers
        finally:
            for number in numbers:
                self._call("DELETE", f"/{number}")

    def befallen(self, number: str) -> int:
        """How many calls a standing fault has befallen."""
        return int(self._call("GET", "")[number]["befallen"])

    def clear(self) -> None:
        """Take all of them back."""
        self._call("DELETE", "")

    def fill(self, bucket: str, keys: str, number: int, body: str) -> None:
        """Put so many objects of these bytes; where `{}` stands in `keys`, each has six digits."""
        asked = {"bucket": bucket, "keys": keys, "number": number, "body": body}
        self._call("POST", "", asked, to="objects", seconds=1800)

    def _call(
        self, method: str, path: str, body: object = None, *, to: str = "faults", seconds: float = 9
    ) -> Any:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of this machine is no way to loopback
            answer = session.request(
                method,
                f"{self.endpoint}/_strict/{to}{path}",
                json=body,
                verify=str(self.authority),
                timeout=seconds,
            )
        answer.raise_for_status()
        return answer.json()
