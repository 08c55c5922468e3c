"""A simulator of the parts of Adobe Experience Platform that the intake talks to."""

from .batches import Batch
from .clock import Clock
from .content import Content
from .faults import Fault
from .ims import TOKEN_PREFIX, Client
from .messages import AnswerLost, Request, RequestLost, Response
from .mishaps import Mishap
from .seed import Seed, seed_defaults
from .simulator import Received, Simulator
from .transport import InProcess, mount

__all__ = [
    "TOKEN_PREFIX",
    "AnswerLost",
    "Batch",
    "Client",
    "Clock",
    "Content",
    "Fault",
    "InProcess",
    "Mishap",
    "Received",
    "Request",
    "RequestLost",
    "Response",
    "Seed",
    "Simulator",
    "mount",
    "seed_defaults",
]
