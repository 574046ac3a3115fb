"""What a daemon shows to whoever runs it (a person, kubelet, Prometheus): probes and numbers over HTTP.

Called by the two daemons' wiring. It knows nothing of agents, sessions or stores: what is well is told to it.
"""

from playbooks_providers.service.build import say_build
from playbooks_providers.service.probes import Probes, Pulse
from playbooks_providers.service.surface import Surface, open_surface

__all__ = ["Probes", "Pulse", "Surface", "open_surface", "say_build"]
