"""The one-machine stack: real servers from wheels, our services, one supervisor. No Docker, no system packages.

It knows how processes are started and stopped, and nothing of what they do.
"""

from embedded.errors import StartFailed
from embedded.running import Platform

__all__ = ["Platform", "StartFailed"]
