"""Some 190 ways to write a host, and the host that each plainly names."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

import httpx

__all__ = ["HOSTS", "goes_to", "said"]

PORTS: Final = (
    "{0} {0}:443 {0}:8443 {0}: {0}:0 {0}:99999 {0}:-1 {0}:+443 {0}:0x1bb {0}:4\u0663 {0}.: {0}\uff1a443"
)
USERS: Final = (
    "evil.com@{0} {0}@evil.com user:pw@{0} {0}:443@evil.com @{0} {0}@ {0}%40evil.com {0}\uff20evil.com"
)
ENDS: Final = (
    "{0}. {0}.. .{0} {0}#.evil.com {0}?.evil.com {0}\\.evil.com {0}\\@evil.com {0};evil.com {0},evil.com {0}&evil.com "
    "{0}|evil.com {0}^evil.com {0}`x` {0}{{x}} {0}<x> {0}\"x {0}'x {0}*x {0}!x {0}~x {0}$x {0}(x) {0}/../evil.com "
    "{0}//evil.com {0}\uff0fevil.com {0}\uff03evil.com //evil.com /evil.com https://evil.com@{0} https://{0} {0}%2eevil.com "
    "{0}%00.evil.com {0}%23.evil.com {0}%2f.evil.com"
)
SCRIPTS: Final = (
    "KIMI.EXAMPLE.COM kimi..example.com kimi%2eexample%2ecom %6bimi.example.com \u212aimi.example.com "
    "kimi\u3002example\u3002com kimi\uff0eexample\uff0ecom kimi\uff61example\uff61com \u24dakimi.example.com "
    "\u043aimi.example.com kimi\u00ad.example.com kimi.example.com\u200b kimi.example.com\ufeff \u2102.com \u00df.example.com "
    "xn--e1afmkfd.xn--p1ai xn--a xn--zzzz999999.com \ufdfa.com 127\u30020\u30020\u30021 \u2460\u2461\u2466.0.0.1 localhost\u3002"
)
ADDRESSES: Final = (
    "[::1] [::1]:8000 [::1 ::1] [::1]evil.com [::1].evil.com [::1%25eth0] [::1%eth0] [fe80::1%25evil.com] [fe80::1] "
    "[::ffff:127.0.0.1] [::ffff:169.254.169.254] [::ffff:1.2.3.4] [2001:db8::1] [fd00::1] [::] [v1.evil] [1.2.3.4] [] "
    "[::1]@evil.com [::1]:@evil.com [fd00:ec2::254] ::1 fe80::1 1::2::3 127.0.0.1 127.1 127.0.1 0177.0.0.1 0x7f.0.0.1 "
    "0x7f000001 2130706433 017700000001 127.0.0.1.nip.io 127.0.0.256 1.2.3 1.2.3.4.5 0 0.0.0.0 255.255.255.255 "
    "169.254.169.254 169.254.169.254. 0xa9fea9fe 2852039166 192.168.0.1 10.0.0.1 172.16.0.1 172.32.0.1 100.64.0.1 224.0.0.1"
)
NAMES: Final = (
    "metadata metadata. metadata.google.internal METADATA.GOOGLE.INTERNAL. localhost LOCALHOST localhost. localhost.evil.com "
    "evil.localhost localhost.localdomain foo.local foo.svc.cluster.local foo.test evil 1evil a-b -a.com a-.com a_b.com "
    "________ {long}.com x.p.googleapis.com xp.googleapis.com x.p.vertexai.goog aiplatform.googleapis.com.evil.com "
    "googleapis.com evil-googleapis.com evilvertexai.goog x.vertexai.goog 123.us-central1-42.prediction.vertexai.goog "
    "123.us-central1-42.prediction.vertexai.goog.evil.com 123.us-central1-42.prediction.vertexai.g00g"
)
SIGNS: Final = [
    *("kimi.example.com evil.com", "kimi.example.com\tx", "kimi.example.com\n.evil.com", "a\r\nHost: evil.com", ""),
    *(" kimi.example.com", "kimi.example.com ", "kimi.example.com\x00", "kimi.example.com\x7f", "kimi.example.com\x85x"),
]  # fmt: skip
HOSTS: Final = [
    *(PORTS + " " + USERS + " " + ENDS).format("kimi.example.com").split(" "),
    *(SCRIPTS + " " + ADDRESSES + " " + NAMES).replace("{long}", "a" * 64).split(" "),
    *SIGNS,
]


def said(text: str) -> str | None:
    """The host that a setting plainly names, read in another way than the library does; `None` if it names none."""
    found = re.fullmatch(
        r"(?:https?://)?(\[[0-9a-fA-F:.]+\]|[^/?#@\\:]+)(?::[0-9]+)?(?:/[^?#\\]*)?", text.strip()
    )
    bare = text.strip() if found is None else found[1].strip("[]").lower()
    try:
        return str(ipaddress.ip_address(bare)) if "%" not in bare else None
    except ValueError:
        name = re.fullmatch(r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]*[a-z_-][a-z0-9_-]*\.?", bare)
        return bare if found is not None and found[0].isascii() and name else None


def goes_to(url: str) -> str:
    """The host that an HTTP client would connect to."""
    host = httpx.URL(url).raw_host.decode()
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host
