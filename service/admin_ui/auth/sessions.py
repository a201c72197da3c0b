"""Sign and verify the session cookies of operators, without shared state between processes.

A cookie is signed with a key of its own for each token, so a session ends when the token that began
it is no longer accepted. A session that is used gets new cookies, so an idle one ends.

A cookie does not help to guess a token: the key is derived from SESSION_KEY, or, without one, by a
function that takes tens of milliseconds for each guess.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from pydantic import SecretStr

from mirt.clock import Clock
from mirt.tokens import accepted
from service.admin_ui.auth.roles import Credential, Tokens

SESSION_TTL_S: Final = 12 * 3600
IDLE_S: Final = 2 * 3600
"""Seconds without use that end a session. The refresh of an open page is no use."""
RENEW_AFTER_S: Final = 60
"""Seconds of one cookie's use before the session gets the next one."""
FLASH_TTL_S: Final = 60


@dataclass(frozen=True, slots=True)
class Session:
    """A logged-in operator. The forms of the session are signed for its ``id``."""

    credential: Credential
    id: str
    began_at: datetime
    used_at: datetime

    def left_s(self, now: datetime) -> int:
        """Return the seconds until the session ends, used or not."""
        return SESSION_TTL_S - int((now - self.began_at).total_seconds())


class Sessions:
    """Signs session cookies, form tokens and flash messages, and verifies them."""

    def __init__(
        self, tokens: Tokens, clock: Clock, *, session_key: SecretStr | None = None
    ) -> None:
        """``session_key`` may have two values: the first signs, both verify."""
        self._tokens = tokens
        self._session_keys = accepted(session_key)
        self._clock = clock
        self._signer = _signer_by(clock)

    def begin(self, credential: Credential) -> str:
        """Return the cookie of a new session."""
        now = self._clock()
        return self._seal(Session(credential, secrets.token_urlsafe(12), now, now))

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie.

        None if the cookie is forged, the session too old or idle, or its token gone.
        """
        if not cookie:
            return None
        for credential in self._tokens.credentials:
            if session := self._open(credential, cookie):
                return session if session.left_s(self._clock()) > 0 else None
        return None

    def renew(self, session: Session) -> tuple[str, int] | None:
        """Return the next cookie of a session that is used now, and its seconds; None: not yet."""
        now = self._clock()
        if (now - session.used_at).total_seconds() < RENEW_AFTER_S:
            return None
        return self._seal(session), session.left_s(now)

    def form_token(self, session: Session) -> str:
        """Return the token that protects the forms of this session against CSRF."""
        return self._sign(session.credential, "form", session.id)

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form was made for this session."""
        return self._verify(session.credential, "form", given, SESSION_TTL_S) == session.id

    def seal_flash(self, session: Session, text: str) -> str:
        """Return a cookie with a flash message: a text that the next page shows once."""
        return self._sign(session.credential, f"said {session.id}", text)

    def open_flash(self, session: Session, cookie: str) -> str | None:
        """Return the flash message of a cookie; None if it is forged or older than a minute."""
        return self._verify(session.credential, f"said {session.id}", cookie, FLASH_TTL_S)

    def _seal(self, session: Session) -> str:
        """Return a cookie of the session. Its signature has the time of its last use."""
        began = int(session.began_at.timestamp())
        return self._sign(session.credential, "session", f"{session.id} {began}")

    def _open(self, credential: Credential, cookie: str) -> Session | None:
        try:
            text, used_at = self._serializer(credential, "session").loads(
                cookie, max_age=IDLE_S, return_timestamp=True
            )
            session_id, began = text.split(" ")
            return Session(credential, session_id, datetime.fromtimestamp(int(began), UTC), used_at)
        except BadData:
            return None

    def _sign(self, credential: Credential, purpose: str, text: str) -> str:
        return str(self._serializer(credential, purpose).dumps(text))

    def _verify(
        self, credential: Credential, purpose: str, signed: str, max_age_s: int
    ) -> str | None:
        try:
            text = self._serializer(credential, purpose).loads(signed, max_age=max_age_s)
        except BadData:
            return None
        return text if isinstance(text, str) else None

    def _serializer(self, credential: Credential, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._keys(credential),
            salt=f"mirt ops {purpose}",
            signer=self._signer,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def _keys(self, credential: Credential) -> Sequence[bytes]:
        """Return the keys of a token, the oldest first, as itsdangerous expects them."""
        owner = f"{credential.role} {credential.name}"
        token = credential.token.get_secret_value()
        if not self._session_keys:
            return [_slowly_derived(owner, token)]
        about = f"{owner}\0{token}".encode()
        keys = [key.get_secret_value().encode() for key in self._session_keys]
        return [hmac.digest(key, about, "sha256") for key in reversed(keys)]


@lru_cache(maxsize=256)
def _slowly_derived(owner: str, token: str) -> bytes:
    # The cost that RFC 7914 suggests for interactive logins; it takes 16 MiB for a moment.
    return hashlib.scrypt(token.encode(), salt=f"mirt ops {owner}".encode(), n=2**14, r=8, p=1)


def _signer_by(clock: Clock) -> type[TimestampSigner]:
    class Signer(TimestampSigner):
        def get_timestamp(self) -> int:
            return int(clock().timestamp())

    return Signer
