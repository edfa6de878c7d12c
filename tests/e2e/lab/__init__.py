"""The lab: everything real that kerbside is tried against, and kerbside itself, as objects.

Each object starts its program, knows when it is ready and ends it; a Lab holds them for one test
and ends them all, whatever happens.
"""

from common.process import LabError, Process, wait_until

from .client import CLIENT_LEFT, Client
from .image import Image
from .json_process import JsonProcess
from .kerbside import Kerbside
from .lab import Lab
from .paths import Paths
from .qemu import Qemu
from .spice_server import SpiceServer
from .viewer import RemoteViewer, Xvfb, spicy_screenshot
from .xspice import Xspice

__all__ = [
    "CLIENT_LEFT",
    "Client",
    "Image",
    "JsonProcess",
    "Kerbside",
    "Lab",
    "LabError",
    "Paths",
    "Process",
    "Qemu",
    "RemoteViewer",
    "SpiceServer",
    "Xspice",
    "Xvfb",
    "spicy_screenshot",
    "wait_until",
]
