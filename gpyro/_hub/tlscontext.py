"""SSL contexts of a TLSConfig: TLS 1.3 and nothing older, with errors that name the file.

The class is gevent's own copy of SSLContext: the standard one recurses without end in a process that was patched
after it had been imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gevent import ssl

from gpyro.errors import ConfigurationError

if TYPE_CHECKING:
    from gpyro._hub.tls import TLSConfig

__all__ = ["build_client_context", "build_server_context"]

_VERIFY = {"no": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


def build_server_context(config: TLSConfig) -> Any:
    """Make the context of a daemon.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    context = _build(ssl.PROTOCOL_TLS_SERVER, config)
    # Sessions are not resumed: tickets would cost each connection bytes and a send.
    context.num_tickets = 0
    context.verify_mode = _VERIFY[config.client_certificates]
    if config.client_certificates != "no":
        _load_ca(context, config)
    return context


def build_client_context(config: TLSConfig) -> Any:
    """Make the context of a proxy.

    Raises:
        ConfigurationError: a file cannot be used.
    """
    context = _build(ssl.PROTOCOL_TLS_CLIENT, config)
    context.check_hostname = config.check_hostname
    context.verify_mode = ssl.CERT_REQUIRED
    _load_ca(context, config)
    return context


def _build(protocol: Any, config: TLSConfig) -> Any:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if config.certificate is not None:
        _load_certificate(context, config)
    return context


def _load_certificate(context: Any, config: TLSConfig) -> None:
    asked = []

    def password() -> str:
        # Without a function OpenSSL asks at the terminal.
        asked.append(True)
        if config.password is None:
            raise ConfigurationError(f"the private key in {key!r} is encrypted; give its password=")
        return config.password

    key = config.key or config.certificate
    try:
        context.load_cert_chain(config.certificate, config.key, password)
    except ssl.SSLError as exc:
        raise ConfigurationError(_certificate_fault(config, exc, bool(asked))) from exc
    except OSError as exc:
        raise ConfigurationError(
            f"certificate {config.certificate!r} with key {key!r} cannot be read: {exc.strerror or exc}"
        ) from exc
    except ValueError as exc:
        # A password that OpenSSL cannot take; ConfigurationError is one too and passes unchanged.
        if isinstance(exc, ConfigurationError):
            raise
        raise ConfigurationError(f"the password of the private key in {key!r} is not right: {exc}") from exc


def _certificate_fault(config: TLSConfig, exc: Any, asked_for_password: bool) -> str:
    key = config.key or config.certificate
    if exc.reason == "KEY_VALUES_MISMATCH":
        return f"the private key in {key!r} does not belong to the certificate in {config.certificate!r}"
    if asked_for_password:
        return f"the password of the private key in {key!r} is not right"
    if not _has_block(config.certificate, b"CERTIFICATE-----"):
        return f"certificate is {config.certificate!r}, in which there is no PEM certificate"
    if not _has_block(key, b"PRIVATE KEY-----"):
        where = "key" if config.key else "certificate"
        return f"{where} is {key!r}, in which there is no private key in PEM; name the file that has it with key="
    return f"certificate {config.certificate!r} with key {key!r} cannot be used: {exc.reason or exc}"


def _has_block(path: str | None, ending: bytes) -> bool:
    assert path is not None
    with open(path, "rb") as file:
        return any(line.startswith(b"-----BEGIN ") and line.rstrip().endswith(ending) for line in file)


def _load_ca(context: Any, config: TLSConfig) -> None:
    if config.ca is None:
        context.load_default_certs(
            ssl.Purpose.SERVER_AUTH if context.protocol == ssl.PROTOCOL_TLS_CLIENT else ssl.Purpose.CLIENT_AUTH
        )
        return
    import os

    try:
        if os.path.isdir(config.ca):
            context.load_verify_locations(capath=config.ca)
        else:
            context.load_verify_locations(cafile=config.ca)
    except ssl.SSLError as exc:
        raise ConfigurationError(
            f"ca is {config.ca!r}, in which there is no usable PEM certificate: {exc.reason or exc}"
        ) from exc
    except OSError as exc:
        raise ConfigurationError(f"ca is {config.ca!r}, which cannot be read: {exc.strerror or exc}") from exc
