"""What does a failure of the link mean, in words that help?"""

from __future__ import annotations

_HINTS = {
    "BadTooManySessions": "the server has no session left; close other clients or wait for their sessions to end",
    "BadUserAccessDenied": "the server refuses this user or password, or this user may not",
    "BadIdentityTokenRejected": "the server refuses this user, password or user certificate",
    "BadIdentityTokenInvalid": "the server refuses this kind of login",
    "BadSecurityChecksFailed": "certificates do not fit: pin the server's present certificate, and make the server trust ours",
    "BadCertificateUntrusted": "the server does not trust our certificate; move it to the server's trusted ones",
    "BadCertificateUriInvalid": "the application URI in our certificate is not the one that we name",
    "BadCertificateTimeInvalid": "a certificate is not valid now; check both clocks",
    "BadSecurityPolicyRejected": "the server does not offer this security policy",
    "BadTooManySubscriptions": "the server has no subscription left",
}


def words(error: BaseException) -> str:
    """One line: what happened, and what to do where we know."""
    if isinstance(error, BaseExceptionGroup):
        return words(error.exceptions[0])
    if isinstance(error, ConnectionRefusedError):
        return "connection refused: is the server running, and is the address right?"
    name = type(error).__name__
    if name in _HINTS:
        return f"{name}: {_HINTS[name]}"
    text = " ".join(str(error).split())[:200]
    if name.startswith("Bad"):
        return name
    return text or name


def first(error: BaseException) -> BaseException:
    """The first failure in a group of tasks: the others were cancelled because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
