"""The envelope of a checkpoint: a header that anybody can read, a payload, and the signature that binds both to a place.

Why: nothing is ever unpickled before its signature has been verified (a LAW of DESIGN 3.4), and lists, dashboards and
the coordinator must be able to describe a checkpoint without unpickling at all. Called by the worker's host (seal, open)
and by commands that show agents (`read_header`). It knows neither stores nor pickles: bytes in, bytes out.
"""

from playbooks_providers.envelope.chain import Chain, oldest_needed
from playbooks_providers.envelope.cipher import Cipher, Unreadable, no_key, opened
from playbooks_providers.envelope.header import (
    FORMAT,
    Asked,
    Base,
    Codec,
    Header,
    Kind,
    Owed,
    Unverified,
    base_mac,
    read_header,
)
from playbooks_providers.envelope.letter import Body, open_letter, seal_letter
from playbooks_providers.envelope.sealer import Opened, Sealer, Stamp
from playbooks_providers.envelope.start import open_start, same_start, seal_start

__all__ = [
    "FORMAT",
    "Asked",
    "Base",
    "Body",
    "Chain",
    "Cipher",
    "Codec",
    "Header",
    "Kind",
    "Opened",
    "Owed",
    "Sealer",
    "Stamp",
    "Unreadable",
    "Unverified",
    "base_mac",
    "no_key",
    "oldest_needed",
    "open_letter",
    "open_start",
    "opened",
    "read_header",
    "same_start",
    "seal_letter",
    "seal_start",
]
