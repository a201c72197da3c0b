"""Sign and verify the session cookies of operators, without shared state between processes.

A cookie is signed with the token of its role. A changed token ends the sessions of that role. A
cookie of one role does not help to guess the token of the other.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

from mirt.clock import Clock
from service.admin_ui.auth.roles import Role, Tokens

SESSION_TTL_S: Final = 12 * 3600
FLASH_TTL_S: Final = 60


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in operator. The forms of the session are signed for its ``id``."""

    role: Role
    id: str


class Sessions:
    """Signs session cookies, form tokens and flash messages, and verifies them."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._keys = tokens.keys
        self._signer = _signer_by(clock)

    def begin(self, role: Role) -> str:
        """Return the cookie of a new session."""
        return self._sign(role, "session", secrets.token_urlsafe(12))

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie; None if it is forged, too old, or its token changed."""
        for role in self._keys:
            if session_id := self._verify(role, "session", cookie, SESSION_TTL_S):
                return Session(role, session_id)
        return None

    def form_token(self, session: Session) -> str:
        """Return the token that protects the forms of this session against CSRF."""
        return self._sign(session.role, "form", session.id)

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form was made for this session."""
        return self._verify(session.role, "form", given, SESSION_TTL_S) == session.id

    def seal_flash(self, session: Session, text: str) -> str:
        """Return a cookie with a flash message: a text that the next page shows once."""
        return self._sign(session.role, f"said {session.id}", text)

    def open_flash(self, session: Session, cookie: str) -> str | None:
        """Return the flash message of a cookie; None if it is forged or older than a minute."""
        return self._verify(session.role, f"said {session.id}", cookie, FLASH_TTL_S)

    def _sign(self, role: Role, purpose: str, text: str) -> str:
        return str(self._serializer(role, purpose).dumps(text))

    def _verify(self, role: Role, purpose: str, signed: str, max_age_s: int) -> str | None:
        try:
            text = self._serializer(role, purpose).loads(signed, max_age=max_age_s)
        except BadData:
            return None
        return text if isinstance(text, str) else None

    def _serializer(self, role: Role, purpose: str) -> URLSafeTimedSerializer:
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
