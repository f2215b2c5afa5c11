"""Register a service with AetherLink and publish its events, also while the control plane is away.

import aetherlink_client

aetherlink = aetherlink_client.Client("https://…/prod", key="ak_…")
aetherlink.register("billing", "https://billing.example")
aetherlink.publish("lead.created", {"lead_id": "l-1"}, source="billing")
"""

from aetherlink_client.client import Client, Refused, Registration
from aetherlink_client.spool import Spool, SpoolFull

__all__ = ["Client", "Refused", "Registration", "Spool", "SpoolFull"]
