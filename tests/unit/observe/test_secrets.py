"""Every secret of the settings, in every form, on every way into the log: nothing of it arrives."""

import base64
import json
import logging
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest
import structlog
from gunicorn.config import Config
from pydantic import SecretStr
from structlog.typing import FilteringBoundLogger

from mirt.observe.secrets import REDACTED, Secrets, redact
from mirt.settings import Settings
from service.processes.gunicorn_log import Lines
from tests.fakes import FakeServices
from tests.settings import settings_for
from tests.unit.observe.conftest import SECRET, Configure

URLS = {
    "rabbitmq_url": "amqp://mirt:{}@rabbit:5672/shop",
    "redis_url": "redis://:{}@redis:6379/0",
    "database_url": "postgresql://mirt:{}@db:5432/mirt",
    "staff_webhook_url": "https://hooks.example/{}",
}
FIELDS = sorted(
    name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
)


def core_of(field: str) -> str:
    """A piece of the secret that stays as it is in each form but base64."""
    return "core" + field.replace("_", "x") + "9f8e7d"


def secret_of(field: str) -> str:
    if field == "telegram_webhook_secret":
        return f"A-{core_of(field)}_z"
    return f"p@s/s:w \"{core_of(field)}'\\ü+%41"


def all_settings(services: FakeServices) -> Settings:
    values = {name: secret_of(name) for name in FIELDS if name not in URLS}
    values |= {name: url.format(quote(secret_of(name), safe="")) for name, url in URLS.items()}
    return settings_for(services, **values, snitkix_api_url="http://crm", log_format="json")


def forms_of(secret: str) -> Iterator[str]:
    """Return a secret as libraries write it: in a URL, a form, JSON, a repr, a header."""
    yield secret
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub("%..", lambda found: found[0].lower(), quoted)
    yield json.dumps({"token": secret})
    yield json.dumps({"token": secret}, ensure_ascii=False)
    yield repr(secret)
    yield repr([{"token": secret}])
    yield str(secret.encode())
    for name in ("", "u:", "us:", "user:"):
        yield "Basic " + base64.b64encode((name + secret).encode()).decode()
        yield base64.urlsafe_b64encode((name + secret + "?").encode()).decode()


def leaks(core: str, written: str) -> bool:
    if core in written:
        return True
    # The middle of it, so that it is found at any offset of a base64.
    middle = core[3:-3].encode()
    for run in re.findall(r"[A-Za-z0-9+/_-]{12,}", written):
        for start in range(4):
            piece = run[start:].replace("-", "+").replace("_", "/")
            decoded = base64.b64decode(piece[: len(piece) // 4 * 4])
            if middle in decoded:
                return True
    return False


class Shown:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<request to {self.text}>"


def failing(form: str) -> None:
    raise ValueError(f"401 for {form}")


def chained(form: str) -> Exception:
    outer = RuntimeError("outer")
    try:
        failing(form)
    except ValueError as inner:
        outer.__cause__ = KeyError(form)
        outer.__cause__.__context__ = inner
    return outer


def by_library(form: str) -> None:
    try:
        failing(form)
    except ValueError:
        logging.getLogger("library").exception("with %s", {"token": form})


def by_warning(form: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"insecure: {form}", stacklevel=1)


def by_thread(form: str) -> None:
    thread = threading.Thread(target=failing, args=(form,))
    thread.start()
    thread.join()


def by_finalizer(form: str) -> None:
    class Dies:
        def __del__(self) -> None:
            failing(form)

    Dies()  # and is gone at once: no variable holds it


def by_main(form: str) -> None:
    error = chained(form)
    sys.excepthook(type(error), error, error.__traceback__)


Way = Callable[[FilteringBoundLogger, str], object]
WAYS: dict[str, Way] = {
    "event": lambda log, form: log.info(f"using {form}"),
    "value": lambda log, form: log.info("using", url=f"https://x/bot{form}/send"),
    "name": lambda log, form: log.info("using", **{form: 1}),
    "nested": lambda log, form: log.info("using", all=[{"a": ({form: form}, {form})}]),
    "object": lambda log, form: log.info("using", request=Shown(form)),
    "nested object": lambda log, form: log.info("using", all=[Shown(form), form.encode()]),
    "error": lambda log, form: log.warning("failed", why=ValueError(form)),
    "bound": lambda log, form: log.bind(token=form).info("using"),
    "traceback": lambda log, form: log.error("failed", exc_info=chained(form)),
    "stack": lambda log, form: log.info("using", token=form, stack_info=True),
    "library's message": lambda _, form: logging.getLogger("library").error(f"with {form}"),
    "library's arguments": lambda _, form: logging.getLogger("library").error("%r", [form]),
    "library's traceback": lambda _, form: by_library(form),
    "library's line that fits nothing": lambda _, form: logging.getLogger("library").error(
        "%d of " + form.replace("%", "%%"), form
    ),
    "library's stack": lambda _, form: logging.getLogger("l").error(form, stack_info=True),
    "dramatiq": lambda _, form: logging.getLogger("dramatiq.worker").critical("x %s", form),
    "gunicorn": lambda _, form: logging.getLogger("gunicorn.error").error("x %s", form),
    "warning": lambda _, form: by_warning(form),
    "thread": lambda _, form: by_thread(form),
    "finalizer": lambda _, form: by_finalizer(form),
    "main thread": lambda _, form: by_main(form),
}


def test_the_secrets_that_are_tested_are_all_there_are() -> None:
    found = {
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *getattr(field.annotation, "__args__", ()))
    }
    assert set(FIELDS) == found
    assert len(FIELDS) >= 10


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize("way", WAYS)
def test_no_secret_of_the_settings_arrives_in_any_form(
    configured: Configure,
    services: FakeServices,
    capsys: pytest.CaptureFixture[str],
    way: str,
    log_format: str,
) -> None:
    settings = all_settings(services)
    values = {name: getattr(settings, name) for name in (*FIELDS, "snitkix_api_url")}
    log = configured(**{**values, "log_format": log_format})
    for field in FIELDS:
        for form in forms_of(secret_of(field)):
            WAYS[way](log, form)
            written = capsys.readouterr().err
            assert REDACTED in written, (field, form)
            assert not leaks(core_of(field), written), (field, form, written)


@pytest.mark.parametrize("name", URLS)
def test_a_url_that_holds_a_secret_is_struck_out_as_a_whole(
    configured: Configure, services: FakeServices, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    settings = all_settings(services)
    values = {field: getattr(settings, field) for field in (*FIELDS, "snitkix_api_url")}
    configured(**values).info("using", url=getattr(settings, name).get_secret_value())
    assert json.loads(capsys.readouterr().err)["url"] == REDACTED


def test_a_secret_that_is_a_number_is_struck_out_of_numbers(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    configured(ops_token="12345678").info("using", token=12345678, other=7)
    line = json.loads(capsys.readouterr().err)
    assert (line["token"], line["other"]) == (REDACTED, 7)


def test_a_secret_that_the_context_has_bound_is_redacted_too(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    log = configured()
    with structlog.contextvars.bound_contextvars(header=f"Bearer {SECRET}"):
        log.info("using")
    assert json.loads(capsys.readouterr().err)["header"] == f"Bearer {REDACTED}"


def test_a_value_that_cannot_be_shown_fails_no_work(
    configured: Configure, capsys: pytest.CaptureFixture[str]
) -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise ValueError(SECRET)

    configured().info("using", value=Unshowable())
    line = json.loads(capsys.readouterr().err)
    assert line["value"] == "<Unshowable that cannot be shown: ValueError>"


def test_gunicorns_own_lines_are_lines_of_our_log(
    configured: Configure, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configured()
    monkeypatch.setenv("OPS_TOKEN", SECRET)
    monkeypatch.setenv("LOG_FORMAT", "json")
    lines = Lines(Config())
    try:
        raise ValueError(f"Bearer {SECRET}")
    except ValueError:
        lines.exception("Error handling request %s", f"/?token={SECRET}")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == f"Error handling request /?token={REDACTED}"
    assert line["logger"] == "gunicorn.error"
    assert SECRET not in line["exception"]


@pytest.mark.parametrize(
    "crash",
    [
        "raise ValueError('for ' + secret)",
        "threading.Thread(target=lambda: int(secret)).start()",
        "asyncio.new_event_loop().call_exception_handler({'message': secret})",
        "fork(sys.argv[1], [secret]).join()",
    ],
    ids=["main", "thread", "loop", "worker child"],
)
def test_a_process_that_crashes_says_so_in_a_line_without_secrets(crash: str) -> None:
    program = f"""
import asyncio, sys, threading
from mirt.observe.logs import configure
from mirt.settings import Settings
from service.processes.fork import fork
configure(Settings(_env_file=None, ops_token={SECRET!r}, log_format="json"))
secret = {SECRET!r}
{crash}
"""
    done = subprocess.run(
        [sys.executable, "-c", program, "absent_" + SECRET],
        capture_output=True,
        check=False,
        text=True,
    )
    assert REDACTED in done.stderr
    assert SECRET not in done.stderr
    assert {json.loads(line)["level"] for line in done.stderr.splitlines()} <= {"error", "critical"}


def test_the_headers_of_the_exporter_are_secret_too(
    configured: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of%20collectors,x=Bearer%20abcdef")
    configured()
    assert redact("of collectors") == REDACTED
    assert redact("token abcdef") == f"token {REDACTED}"


def test_words_that_are_no_secrets_stay(services: FakeServices) -> None:
    known = Secrets(all_settings(services).secrets)
    text = "answered 500: Internal Server Error; POST /sendMessage to telegram, attempt 3 of 4"
    assert known.redact(text) == text


def test_in_a_program_of_others_our_lines_hold_no_secrets_and_theirs_are_left_alone() -> None:
    program = f"""
import logging
import structlog
from mirt.runtime import current_runtime
current_runtime()
structlog.get_logger("mirt").warning("using", token="Bearer {SECRET}")
assert logging.getLogger().handlers == []
"""
    env = {"PATH": "/usr/bin", "OPS_TOKEN": SECRET, "LOG_FORMAT": "json"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=env, capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stderr)["token"] == f"Bearer {REDACTED}"
