"""A request that got past the gateway."""

from dataclasses import dataclass

from .ims import Client
from .messages import Refused, Request, problem


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that the gateway let through, by whom, to which sandbox, and when."""

    request: Request
    client: Client
    sandbox: str
    now: int

    def refusal(self, code: str, title: str, detail: str) -> Refused:
        """A refusal in the shape of today's services."""
        org, sandbox = self.client.org, self.sandbox
        return Refused(problem(code, title, detail, org=org, sandbox=sandbox, now=self.now))
