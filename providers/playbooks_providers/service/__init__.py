"""What a daemon shows to whoever runs it (a person, kubelet, Prometheus, systemd): probes, numbers, notices.

Called by the two daemons' wiring. It knows nothing of agents, sessions or stores: what is well is told to it.
"""

from playbooks_providers.service.build import say_build
from playbooks_providers.service.probes import Probes, Pulse
from playbooks_providers.service.surface import Surface, open_surface
from playbooks_providers.service.systemd import Notifier

__all__ = ["Notifier", "Probes", "Pulse", "Surface", "open_surface", "say_build"]
