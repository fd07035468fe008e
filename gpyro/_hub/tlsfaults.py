"""What OpenSSL's reasons mean to a person, and what to do about each."""

from __future__ import annotations

from typing import Any

__all__ = ["explain"]

#: Numbers of X509_V_ERR_* and what to do where a certificate is not accepted here.
_EXPIRED, _NOT_YET = 10, 9
_UNKNOWN_CA = (2, 18, 19, 20, 21)
_WRONG_NAME = (62, 64)

#: What OpenSSL says of bytes that are no TLS; which one depends on what they happen to look like.
_NO_TLS = (
    "HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL",
    "WRONG_VERSION_NUMBER", "BAD_RECORD_TYPE", "INVALID_RECORD_TYPE",
)  # fmt: skip
_OLD_TLS = ("NO_PROTOCOLS_AVAILABLE", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "WRONG_SSL_VERSION")

#: The other side's reasons for going away, by the end of the names that OpenSSL gives its alerts.
_ALERTS = {
    "BAD_CERTIFICATE": "it does not accept our certificate; look at its log",
    "CERTIFICATE_EXPIRED": "our certificate has expired; make a new one (`gpyro certs` does for a first try)",
    "CERTIFICATE_REQUIRED": "it wants a certificate of us; name one with TLSConfig(certificate=..., key=...)",
    "CERTIFICATE_REVOKED": "our certificate has been revoked; get a new one",
    "CERTIFICATE_UNKNOWN": "it does not accept our certificate; look at its log",
    "HANDSHAKE_FAILURE": "it finds nothing that both sides can do; look at its log",
    "PROTOCOL_VERSION": "it does not take TLS 1.3, all that gpyro speaks; bring the other side up to date",
    "UNKNOWN_CA": "it does not know the CA that signed our certificate; its ca= must name that CA",
    "UNSUPPORTED_CERTIFICATE": "our certificate is not made for this use; see the extended key usage in it",
}


def explain(exc: Any, server_side: bool, shaking_hands: bool) -> str:
    """Return what happened and the way out, for the SSLError of one side."""
    reason = exc.reason or ""
    if reason == "CERTIFICATE_VERIFY_FAILED":
        hint = _certificate_hint(exc.verify_code, server_side)
        return f"certificate verify failed: {exc.verify_message}; {hint}"
    if "ALERT_" in reason:
        return _explain_alert(reason.partition("ALERT_")[2], server_side, shaking_hands)
    if reason in _NO_TLS and shaking_hands:
        return _no_tls(server_side)
    if reason in _OLD_TLS:
        return _ALERTS["PROTOCOL_VERSION"]
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return (
            "it showed no certificate, and client_certificates is 'required' here; "
            "callers name theirs with TLSConfig(certificate=..., key=...)"
        )
    return f"{reason.lower().replace('_', ' ') or exc}; what came may have been damaged, or is not TLS"


def _explain_alert(alert: str, server_side: bool, shaking_hands: bool) -> str:
    if alert == "UNEXPECTED_MESSAGE" and shaking_hands:
        return _no_tls(server_side)
    return _ALERTS.get(alert) or f"it sent the alert {alert.lower().replace('_', ' ')}; look at its log"


def _no_tls(server_side: bool) -> str:
    if server_side:
        return "it does not speak TLS; callers of this daemon need its PYROSSL:// address"
    return "it does not take TLS there; a daemon without TLS has a PYRO:// address"


def _certificate_hint(code: int, server_side: bool) -> str:
    if code in _UNKNOWN_CA:
        return "TLSConfig(ca=...) must name the CA that signed it"
    if code in _WRONG_NAME:
        return "call it by a name that its certificate is for, or give that as TLSConfig(server_hostname=...)"
    if code == _EXPIRED:
        return "its owner needs a new one"
    if code == _NOT_YET:
        return "look at the clocks of both machines"
    return f"the {'caller' if server_side else 'daemon'} needs another one"
