"""Sessions: a signed cookie, so that every process of the ingress knows who it is.

It is signed with the token of its role: changing that token ends its sessions, and nobody who knows
one role's cookie can guess at the other's token.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from mirt.clock import Clock
from service.admin_ui.auth.roles import Role, Tokens

LASTS_S: Final = 12 * 3600
SAID_LASTS_S: Final = 60


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has logged in. ``id`` is what the forms of this session are signed for."""

    role: Role
    id: str


class Sessions:
    """Makes sessions and knows its own."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._keys = tokens.keys
        self._signer = _signer_by(clock)

    def begin(self, role: Role) -> str:
        """The cookie of a new session."""
        return self._seal(role, "session", secrets.token_urlsafe(12))

    def read(self, cookie: str) -> Session | None:
        """Whose cookie it is; None if it is not ours, or too old, or of a token that changed."""
        for role in self._keys:
            if session_id := self._open(role, "session", cookie, LASTS_S):
                return Session(role, session_id)
        return None

    def form_token(self, session: Session) -> str:
        """What each form of this session carries, and nobody else's does."""
        return self._seal(session.role, "form", session.id)

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form was made for this session."""
        return self._open(session.role, "form", given, LASTS_S) == session.id

    def say(self, session: Session, text: str) -> str:
        """A cookie with what the next page of this session is to say."""
        return self._seal(session.role, f"said {session.id}", text)

    def said(self, session: Session, cookie: str) -> str | None:
        """What this page is to say."""
        return self._open(session.role, f"said {session.id}", cookie, SAID_LASTS_S)

    def _seal(self, role: Role, purpose: str, text: str) -> str:
        return str(self._sealed(role, purpose).dumps(text))

    def _open(self, role: Role, purpose: str, sealed: str, max_age_s: int) -> str | None:
        try:
            text = self._sealed(role, purpose).loads(sealed, max_age=max_age_s)
        except BadData:
            return None
        return text if isinstance(text, str) else None

    def _sealed(self, role: Role, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._keys[role],
            salt=f"mirt ops {purpose}",
            signer=self._signer,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )


def _signer_by(clock: Clock) -> type[TimestampSigner]:
    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(clock().timestamp())

    return Signer
