"""A download is bounded, and public addresses are the only ones that a customer can name."""

import httpcore
import pytest
from pydantic import SecretStr

from mirt.errors import ExternalServiceError
from mirt.http.download import download
from tests.fakes import FakeServices, Status


def fetch(url: str, *, largest: int = 100, public_only: bool = False) -> bytes:
    return download(
        "manychat", SecretStr(url), largest=largest, within_s=5, public_only=public_only
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://93.184.216.34/p.jpg",
        "https://127.0.0.1/p.jpg",
        "https://localhost/p.jpg",
        "https://[::1]/p.jpg",
        "https://[::ffff:127.0.0.1]/p.jpg",
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.5/p.jpg",
        "https://0.0.0.0/p.jpg",
        "https://127.1/p.jpg",
        "https://2130706433/p.jpg",
        "https://93.184.216.34:8443/p.jpg",
        "https://user@127.0.0.1/p.jpg",
        "file:///etc/passwd",
        "https://",
        "no address",
    ],
)
def test_no_address_of_our_own_network_is_connected_to(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[object] = []
    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", lambda *a, **_: connected.append(a))
    with pytest.raises(ExternalServiceError) as refused:
        fetch(url, public_only=True)
    assert connected == []
    assert "127.0.0.1" not in str(refused.value)


def test_a_name_that_resolves_to_our_network_only_when_it_is_connected_to_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = [[(2, 1, 6, "", ("10.0.0.5", 443))]]
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: answers[0])
    with pytest.raises(ExternalServiceError):
        fetch("https://cdn.example/p.jpg", public_only=True)


def test_a_file_is_read_up_to_its_largest_size(services: FakeServices) -> None:
    services.telegram.files["p"] = b"x" * 100
    url = f"{services.telegram_url}/file/bot1:t/photos/p"
    assert fetch(url) == b"x" * 100
    with pytest.raises(ExternalServiceError, match="more than 99 bytes"):
        fetch(url, largest=99)


def test_a_redirect_is_not_followed_and_no_error_shows_the_address(services: FakeServices) -> None:
    services.misbehave("telegram", Status(302, headers={"Location": "http://127.0.0.1/"}))
    with pytest.raises(ExternalServiceError, match="answered 302") as refused:
        fetch(f"{services.telegram_url}/file/bot1:secret/photos/p")
    assert "secret" not in str(refused.value)
    assert refused.value.__context__ is None
