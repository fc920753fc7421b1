"""Certificate authorities: a company's own beside the public ones. Called by sources before they connect."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from slipway_runtime.errors import RequestError

VARIABLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
"""What httpx, requests and OpenSSL read; each names the one file that is trusted, and nothing beside it."""
SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
"""Debian's bundle of the public authorities."""


def trust(environment: Mapping[str, str]) -> None:
    """Trust the authorities in the file SLIPWAY_CA_FILE beside the public ones; nothing without it.

    A mirror inside may redirect to a public address: either alone would refuse the other's certificate.

    Raises:
        RequestError: MissingInput, the file is not there or holds no certificate.
    """
    own = environment.get("SLIPWAY_CA_FILE", "")
    if not own:
        return
    bundle = Path(tempfile.gettempdir()) / f"authorities-{os.getpid()}.crt"
    public = [path for path in (environment.get(VARIABLES[0], ""), SYSTEM) if path and Path(path).is_file()]
    bundle.write_text("\n".join([*map(_read, public[:1]), _checked(own)]), encoding="utf-8")
    os.environ.update(dict.fromkeys(VARIABLES, str(bundle)))


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _checked(path: str) -> str:
    import ssl

    try:
        text = _read(path)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise RequestError(
            "MissingInput",
            "the ConfigMap of the chart's value customCA.configMap has no certificate under ca.crt: "
            f"{error}. In the model's namespace, put the authority's certificate there in PEM",
        ) from error
    return text
