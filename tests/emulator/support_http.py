"""What requests without encryption need of it: nothing."""

from __future__ import annotations

import ssl
from typing import Final

PLAIN: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For `verify=`: httpx would load the authorities for each client, which takes longer than most of these tests."""
