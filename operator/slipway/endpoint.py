"""Where the API server is and how to be trusted by it: the official client's configuration, read at start."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from slipway.errors import UnavailableError


@dataclass(frozen=True)
class Endpoint:
    """Where the API server is and how to be trusted by it.

    Attributes:
        server: base URL.
        tls: context with CA and client certificate; None for plain HTTP.
        proxy: URL of an HTTP proxy, empty for none.
        configuration: the official client's configuration: its hook renews tokens.
    """

    server: str
    tls: ssl.SSLContext | None
    proxy: str
    configuration: Any = field(repr=False)

    async def headers(self) -> dict[str, str]:
        """Authorization for the next request; renews the token when it is due.

        Raises:
            UnavailableError: it could not be renewed; the next request tries again.
        """
        try:
            settings = await self.configuration.auth_settings()
        except Exception as error:  # the client reads files and runs plugins here: it may raise anything
            message = f"no credentials: {error!r}; check the mounted token or the kubeconfig's plugin"
            raise UnavailableError(0, "Credentials", message) from error
        return {entry["key"]: entry["value"] for entry in settings.values() if entry["value"]}


async def read_endpoint(kubeconfig: str | None, context: str | None) -> Endpoint:
    """Read the connection from a kubeconfig, or from the pod's service account when none is named or found.

    Raises:
        UnavailableError: neither is there; the message says what was tried.
    """
    from kubernetes.aio import config as untyped_config
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.config.config_exception import ConfigException

    config: Any = untyped_config  # the client's configuration loaders carry no types
    configuration = Configuration()
    try:
        if kubeconfig is None and context is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except ConfigException:
                await config.load_kube_config(client_configuration=configuration)
        else:
            await config.load_kube_config(kubeconfig, context, client_configuration=configuration)
    except (ConfigException, OSError) as error:
        message = f"no Kubernetes API to talk to: {error}; give --kubeconfig or run inside a cluster"
        raise UnavailableError(0, "NoConfiguration", message) from error
    return Endpoint(
        server=str(configuration.host).rstrip("/"),
        tls=_tls(configuration),
        proxy=configuration.proxy or environment_proxy(str(configuration.host)),
        configuration=configuration,
    )


def environment_proxy(server: str) -> str:
    """URL of the environment's proxy for that server, empty for none (``HTTPS_PROXY``, ``NO_PROXY``).

    Read once: aiohttp's ``trust_env`` reads the environment and ``~/.netrc`` in a thread at every request.
    """
    parts = urlsplit(server)
    if proxy_bypass(parts.netloc):
        return ""
    return getproxies().get(parts.scheme, "")


def _tls(configuration: Any) -> ssl.SSLContext | None:
    if not str(configuration.host).startswith("https:"):
        return None
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=getattr(configuration, "ca_cert_data", None)
    )
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
