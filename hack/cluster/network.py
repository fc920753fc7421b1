"""The node's address, routes and address translation; called by cluster.py with root's rights.

An own bridge carries the node's address; pods hang on routed links of their own. Everything has our name, so
that taking it away takes nothing of anybody else's.
"""

from __future__ import annotations

import ipaddress
import json
import subprocess
from pathlib import Path
from typing import Any

from hack.cluster import layout

TABLE = "slipway-cluster"
PROXY_TABLES = (("ip", "kube-proxy"), ("ip6", "kube-proxy"))
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


def _run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def bridge() -> dict[str, Any] | None:
    """The bridge as ``ip -j`` describes it; None when it is missing."""
    try:
        found: list[dict[str, Any]] = json.loads(_run("ip", "-j", "address", "show", "dev", layout.BRIDGE))
    except OSError:
        return None
    return found[0] if found else None


def tables() -> set[tuple[str, str]]:
    """Family and name of every nftables table."""
    rows = json.loads(_run("nft", "-j", "list", "tables"))["nftables"]
    return {(row["table"]["family"], row["table"]["name"]) for row in rows if "table" in row}


def foreign_addresses() -> list[str]:
    """Interfaces other than ours that have an address in the cluster's range: they would clash."""
    ours, clashes = ipaddress.ip_network(layout.ALL_CIDR), []
    for link in json.loads(_run("ip", "-j", "-4", "address", "show")):
        for address in link.get("addr_info", []):
            inside = ipaddress.ip_address(address["local"]) in ours
            pod = link.get("link_netnsid") is not None  # the node's end of a pod's link
            if inside and not pod and link.get("ifname") != layout.BRIDGE:
                clashes.append(f"{link.get('ifname')} has {address['local']}")
    return clashes


def up() -> None:
    """Make bridge, address, route and translation unless they are there."""
    if bridge() is None:
        _run("ip", "link", "add", layout.BRIDGE, "type", "bridge")
    _run("ip", "address", "replace", f"{layout.NODE_IP}/{layout.NODE_PREFIX}", "dev", layout.BRIDGE)
    _run("ip", "link", "set", layout.BRIDGE, "up")
    # Programs on the machine reach Services by this route; kube-proxy's rules then choose the pod.
    _run("ip", "route", "replace", layout.SERVICE_CIDR, "dev", layout.BRIDGE, "src", layout.NODE_IP)
    FORWARDING.write_text("1")
    _run("nft", "-f", "-", text=rules())


def rules() -> str:
    """Pods reach the world beyond the cluster with the machine's own address; nobody out there reaches in.

    A neighbour could route the cluster's addresses to this machine, which forwards. What answers a pod comes
    for the machine's own address here: it is translated back later than this rule looks.
    """
    return f"""table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname != "lo" ip saddr != {layout.ALL_CIDR} ip daddr {layout.ALL_CIDR} drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {layout.POD_CIDR} ip daddr != {layout.ALL_CIDR} masquerade
  }}
}}
"""


def down(forwarding: str = "") -> list[str]:
    """Take everything away; returns what there was. ``forwarding`` is the setting to go back to."""
    gone = []
    names = tables()
    # kube-proxy's tables have no name of our own: only beside our table are they ours. That one goes last, so
    # that what was interrupted is found again.
    ours = [*(set(PROXY_TABLES) & names), ("ip", TABLE)] if ("ip", TABLE) in names else []
    for family, name in ours:
        _run("nft", "delete", "table", family, name)
        gone.append(f"nftables table {family} {name}")
    if bridge() is not None:
        _run("ip", "link", "delete", layout.BRIDGE)
        gone.append(f"bridge {layout.BRIDGE}")
    if forwarding == "0":
        FORWARDING.write_text("0")
    return gone


def forwarding() -> str:
    """Whether the machine forwards packets now: "0" or "1"."""
    return FORWARDING.read_text().strip()
