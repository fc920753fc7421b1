"""Answers of the model's own Service, for the stage benchmark; never through a proxy."""

from __future__ import annotations

import urllib.error
import urllib.request

CONNECT_SECONDS = 10.0


def read_url(url: str) -> str:
    """Return what the model's own Service answers; OSError when it does not, ValueError for a strange URL.

    Never through a proxy: the Service is inside the cluster.
    """
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{url} is no HTTP address")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=CONNECT_SECONDS) as answer:
            return str(answer.read().decode("utf-8", errors="replace"))
    except urllib.error.HTTPError as error:
        error.close()
        raise ConnectionError(f"answered {error.code} {error.reason}") from error
