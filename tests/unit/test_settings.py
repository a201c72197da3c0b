"""The environment becomes settings, or a line for each wrong variable; none says a value."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from mirt.settings import (
    EMBEDDED_DATABASE,
    OLD_NAMES,
    DatabaseSettings,
    Mode,
    Settings,
    SettingsError,
    load_settings,
    old_names_in_use,
)

COMPLETE = {
    "RABBITMQ_URL": "amqp://user:amqp-secret@rabbit/",
    "REDIS_URL": "redis://:redis-secret@redis/0",
    "DATABASE_URL": "postgresql://user:pg-secret@db/mirt",
    "TELEGRAM_BOT_TOKEN": "123:telegram-secret",
    "TELEGRAM_WEBHOOK_SECRET": "webhook-secret",
    "LLM_API_KEY": "llm-secret",
}


SERVERS = ("RABBITMQ_URL", "REDIS_URL", "DATABASE_URL")


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for old in OLD_NAMES:
        monkeypatch.delenv(old, raising=False)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    return monkeypatch


def read(env: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        env.setenv(name, value)
    return load_settings(env_file=None)


def refused(env: pytest.MonkeyPatch, **values: str) -> list[str]:
    with pytest.raises(SettingsError) as refusal:
        read(env, **values)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__, "the context would say the value"
    return str(refusal.value).splitlines()


def named(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


def test_an_empty_environment_is_the_embedded_mode(env: pytest.MonkeyPatch) -> None:
    settings = read(env)
    assert settings.mode is Mode.EMBEDDED
    assert settings.database_url.get_secret_value() == EMBEDDED_DATABASE


def test_a_variable_that_is_empty_counts_as_not_set(env: pytest.MonkeyPatch) -> None:
    settings = read(env, RABBITMQ_URL="", WORKER_THREADS="", TELEGRAM_BOT_TOKEN="")
    assert (settings.mode, settings.worker_threads) == (Mode.EMBEDDED, 8)
    assert settings.telegram_bot_token is None


def test_a_parameter_of_the_llm_that_is_empty_is_turned_off(env: pytest.MonkeyPatch) -> None:
    settings = read(env, LLM_MAX_TOKENS="", LLM_TEMPERATURE="")
    assert (settings.llm_max_tokens, settings.llm_temperature) == (None, None)


def test_parameters_of_the_llm_have_defaults(env: pytest.MonkeyPatch) -> None:
    settings = read(env)
    assert (settings.llm_max_tokens, settings.llm_temperature) == (2048, 0.3)
    assert (settings.llm_tools, settings.llm_call_timeout_seconds) == (True, 30)


def test_a_parameter_is_also_turned_off_in_the_file(
    env: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("LLM_MAX_TOKENS=\nLLM_TEMPERATURE=\n")
    env.setenv("LLM_TEMPERATURE", "1")
    settings = load_settings(file)
    assert (settings.llm_max_tokens, settings.llm_temperature) == (None, 1)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKER_THREADS", "many-threads"),
        ("WORKER_THREADS", "0"),
        ("WORKER_MAX_TASKS", "-17"),
        ("RESULT_TIMEOUT", "0"),
        ("TASKS_ENABLED", "perhaps"),
        ("TASKS_EAGER", "perhaps"),
        ("TELEGRAM_WEBHOOK_SECRET", "кирилиця"),
        ("TELEGRAM_WEBHOOK_SECRET", "with spaces"),
        ("SUMMARY_RETENTION_DAYS", "-17"),
        ("RETENTION_DAYS", "0"),
        ("DEBOUNCE_SECONDS", "-17"),
        ("DEBOUNCE_SECONDS", "86400"),
        ("FOLLOWUP_DELAYS_HOURS", "soon,later"),
        ("FOLLOWUP_DELAYS_HOURS", "72,24"),
        ("FOLLOWUP_DELAYS_HOURS", "24,24"),
        ("FOLLOWUP_DELAYS_HOURS", "0,24"),
        ("FOLLOWUP_DELAYS_HOURS", "11,22,33,44,55,66"),
        ("LLM_MAX_TOKENS", "0"),
        ("LLM_TEMPERATURE", "warm-please"),
        ("LLM_CALL_TIMEOUT_SECONDS", "0"),
        ("MANYCHAT_FOLLOWUP_DELAYS_HOURS", "11,24"),
        ("MANYCHAT_FOLLOWUP_DELAYS_HOURS", "11,11"),
        ("SHOP_TIMEZONE", "Europe/Nowhere"),
        ("SHOP_TIMEZONE", "../../etc/passwd"),
        ("SHOP_TIMEZONE", "America"),
        ("QUIET_HOURS", "at-night"),
        ("QUIET_HOURS", "21-25"),
        ("QUIET_HOURS", "9-9"),
        ("LOG_FORMAT", "yaml-please"),
        ("LOG_LEVEL", "LOUD"),
        ("LEASE_SECONDS", "0"),
        ("RETRY_BASE_SECONDS", "nothing"),
    ],
)
def test_a_wrong_value_is_named_by_its_variable_and_never_said(
    env: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    lines = refused(env, **{variable: value})
    assert set(named(lines)) == {variable}
    said = " ".join(lines).removeprefix(variable)
    assert len(value) < 3 or value not in said


def test_also_settings_that_are_made_without_the_environment_do_not_say_the_value() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(_env_file=None, telegram_webhook_secret="таємниця")
    assert "таємниця" not in str(refusal.value)


def test_all_wrong_values_are_named_at_once(env: pytest.MonkeyPatch) -> None:
    lines = refused(env, WORKER_THREADS="x", LOG_LEVEL="x", FOLLOWUP_DELAYS_HOURS="x")
    assert set(named(lines)) == {"WORKER_THREADS", "LOG_LEVEL", "FOLLOWUP_DELAYS_HOURS"}


@pytest.mark.parametrize("variable", SERVERS)
@pytest.mark.parametrize("user", ["mirt", ""])
@pytest.mark.parametrize(
    "password",
    [
        *(f"head{mark}tail" for mark in "@/?#[]"),
        *(f"6543{mark}tail" for mark in "@/?#"),
        "head@@tail",
        "head/x@tail",
        "head?x@tail",
        "tail@",
        "@tail",
        "head\u2100tail",
    ],
)
def test_nothing_of_a_password_that_is_not_encoded_is_said(
    env: pytest.MonkeyPatch, variable: str, user: str, password: str
) -> None:
    start, at, end = COMPLETE[variable].partition("@")
    scheme, _, _ = start.partition("://")
    lines = refused(env, **{variable: f"{scheme}://{user}:{password}{at}{end}"})
    assert named(lines) == [variable]
    assert "must be percent-encoded" in lines[0]
    assert not [piece for piece in ("head", "tail", "6543", "mirt") if piece in lines[0]]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RABBITMQ_URL", "rabbit:5672"),
        ("RABBITMQ_URL", "http://rabbit:5672"),
        ("RABBITMQ_URL", "amqp://"),
        ("RABBITMQ_URL", "amqp://mirt:secret@/vhost"),
        ("RABBITMQ_URL", "amqp://rabbit:70000/"),
        ("REDIS_URL", "redis:6379/0"),
        ("REDIS_URL", "amqp://redis/0"),
        ("REDIS_URL", "redis:///0"),
        ("REDIS_URL", "redis://:secret@/0"),
        ("REDIS_URL", "unix://"),
        ("REDIS_URL", "redis://redis:port/0"),
        ("DATABASE_URL", "db/mirt"),
        ("DATABASE_URL", "mysql://db/mirt"),
        ("DATABASE_URL", "postgresql+psycopg2://db/mirt"),
        ("DATABASE_URL", "postgresql://mirt:secret@/mirt"),
        ("DATABASE_URL", "postgresql://db:54x32/mirt"),
        ("DATABASE_URL", "host=db user=mirt password=secret"),
    ],
)
def test_a_url_of_another_server_is_refused(
    env: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    lines = refused(env, **{variable: value})
    assert named(lines) == [variable]
    assert "secret" not in lines[0]
    assert not (rest := value.partition("://")[2]) or rest not in lines[0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RABBITMQ_URL", "amqp://rabbit"),
        ("RABBITMQ_URL", "amqp://127.0.0.1:5672"),
        ("RABBITMQ_URL", "amqp://guest:guest@localhost:5672/%2F"),
        ("RABBITMQ_URL", "amqps://mirt:p%40%2F%3F%23%3A%5Bw@rabbit:5671/shop?heartbeat=30"),
        ("RABBITMQ_URL", "amqp://mirt:with:colon@rabbit/"),
        ("RABBITMQ_URL", "amqp://mirt:secret@[::1]:5672/%2F"),
        ("REDIS_URL", "redis://redis"),
        ("REDIS_URL", "redis://redis:6379/0"),
        ("REDIS_URL", "redis://:p%40%2F%3F%23%3A%5Bw@redis:6379/1"),
        ("REDIS_URL", "rediss://default:secret@redis.example:6380?db=2&ssl_cert_reqs=none"),
        ("REDIS_URL", "redis://:secret@[2001:db8::1]/0"),
        ("REDIS_URL", "unix:///var/run/redis.sock?db=1"),
        ("REDIS_URL", "unix://:secret@/var/run/redis.sock"),
        ("DATABASE_URL", "postgresql://db/mirt"),
        ("DATABASE_URL", "postgres://mirt:secret@db:5432/mirt"),
        ("DATABASE_URL", "postgresql://mirt@127.0.0.1:5432/mirt"),
        ("DATABASE_URL", "postgresql://mirt:p%40%2F%3F%23%3A%5Bw@db/mirt?sslmode=require"),
        ("DATABASE_URL", "postgresql+psycopg://mirt.project:secret@pooler.example:6543/postgres"),
        ("DATABASE_URL", "postgresql://mirt:secret@[::1]:5432/mirt"),
        ("DATABASE_URL", "postgresql:///mirt"),
        ("DATABASE_URL", "postgresql://mirt:secret@/mirt?host=/var/run/postgresql"),
        ("DATABASE_URL", "sqlite://"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "sqlite:///var/mirt.db"),
        ("DATABASE_URL", "sqlite:////srv/a#b@c?/mirt.db"),
        ("DATABASE_URL", "sqlite+pysqlite:///mirt.db"),
    ],
)
def test_a_url_is_taken_as_people_write_it(
    env: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    others = {} if value.startswith("sqlite") else COMPLETE
    settings = read(env, **{**others, variable: value})
    assert getattr(settings, variable.lower()).get_secret_value() == value


@pytest.mark.parametrize("file", [".env.example", "docker-compose.yml"])
def test_the_urls_of_our_examples_are_taken(env: pytest.MonkeyPatch, file: str) -> None:
    example = (Path(__file__).parents[2] / file).read_text()
    urls = dict(re.findall(rf"^[# ]*({'|'.join(SERVERS)})(?:=|: )(.+)$", example, re.MULTILINE))
    assert set(urls) == set(SERVERS)
    urls = {name: re.sub(r"\$\{(\w+):[^}]+\}", r"\1", url) for name, url in urls.items()}
    assert read(env, **{**COMPLETE, **urls}).mode is Mode.DISTRIBUTED


def test_a_complete_environment_is_distributed(env: pytest.MonkeyPatch) -> None:
    assert read(env, **COMPLETE).mode is Mode.DISTRIBUTED


def test_all_that_is_missing_when_distributed_is_listed_at_once(env: pytest.MonkeyPatch) -> None:
    lines = refused(env, RABBITMQ_URL=COMPLETE["RABBITMQ_URL"])
    assert set(lines) == {
        f"{name}: required when RABBITMQ_URL is set" for name in COMPLETE if name != "RABBITMQ_URL"
    }


@pytest.mark.parametrize("missing", [name for name in COMPLETE if name != "RABBITMQ_URL"])
def test_each_that_is_missing_when_distributed_is_named(
    env: pytest.MonkeyPatch, missing: str
) -> None:
    given = {name: value for name, value in COMPLETE.items() if name != missing}
    assert named(refused(env, **given)) == [missing]


def test_a_command_that_opens_the_database_only_needs_no_other_variable(
    env: pytest.MonkeyPatch,
) -> None:
    for name in ("RABBITMQ_URL", "DATABASE_URL"):
        env.setenv(name, COMPLETE[name])
    assert load_settings(env_file=None, kind=DatabaseSettings).mode is Mode.DISTRIBUTED


def test_a_command_that_opens_the_database_only_does_not_guess_which_one(
    env: pytest.MonkeyPatch,
) -> None:
    env.setenv("RABBITMQ_URL", COMPLETE["RABBITMQ_URL"])
    with pytest.raises(SettingsError, match=r"^DATABASE_URL: required"):
        load_settings(env_file=None, kind=DatabaseSettings)


@pytest.mark.parametrize(
    ("half", "other"),
    [
        ("MANYCHAT_API_KEY", "MANYCHAT_VERIFY_TOKEN"),
        ("MANYCHAT_VERIFY_TOKEN", "MANYCHAT_API_KEY"),
        ("SNITKIX_API_KEY", "SNITKIX_API_URL"),
        ("SNITKIX_API_URL", "SNITKIX_API_KEY"),
    ],
)
def test_half_a_service_is_not_accepted_when_distributed(
    env: pytest.MonkeyPatch, half: str, other: str
) -> None:
    assert named(refused(env, **COMPLETE, **{half: "https://half"})) == [other]


def test_a_distributed_service_needs_postgres(env: pytest.MonkeyPatch) -> None:
    lines = refused(env, **{**COMPLETE, "DATABASE_URL": "sqlite:///elsewhere.db"})
    assert named(lines) == ["DATABASE_URL"]
    assert "elsewhere" not in lines[0]


@pytest.mark.parametrize(
    ("old", "value", "field", "expected"),
    [
        ("CELERY_ENABLED", "false", "tasks_enabled", False),
        ("CELERY_EAGER", "true", "tasks_eager", True),
        ("CELERY_CONCURRENCY", "3", "worker_threads", 3),
        ("CELERY_MAX_TASKS_PER_CHILD", "50", "worker_max_tasks", 50),
        ("CELERY_RESULT_TIMEOUT", "7", "result_timeout", 7),
    ],
)
def test_the_old_names_work_and_are_reported(
    env: pytest.MonkeyPatch, old: str, value: str, field: str, expected: object
) -> None:
    assert getattr(read(env, **{old: value}), field) == expected
    assert old_names_in_use() == [f"{old} is the old name of {OLD_NAMES[old]}"]


def test_the_new_name_wins_over_the_old(env: pytest.MonkeyPatch) -> None:
    assert read(env, CELERY_CONCURRENCY="3", WORKER_THREADS="5").worker_threads == 5


def test_new_names_and_empty_old_ones_are_not_reported(env: pytest.MonkeyPatch) -> None:
    read(env, WORKER_THREADS="5", CELERY_EAGER="")
    assert old_names_in_use() == []


@pytest.mark.parametrize(
    ("value", "hours"),
    [("24,72", (24, 72)), (" 1 , 2,", (1, 2)), ("5", (5,)), ("1,2,3,4,5", (1, 2, 3, 4, 5))],
)
def test_the_hours_of_follow_ups_are_read_from_a_list(
    env: pytest.MonkeyPatch, value: str, hours: tuple[int, ...]
) -> None:
    assert read(env, FOLLOWUP_DELAYS_HOURS=value).followup_delays_hours == hours


def test_secrets_are_neither_in_the_repr_nor_in_what_is_shown(env: pytest.MonkeyPatch) -> None:
    settings = read(env, **COMPLETE, OPS_TOKEN="ops-secret")
    for text in (repr(settings), str(settings), str(settings.masked())):
        assert "secret@" not in text
        assert not [word for word in settings.secrets if word in text]
    assert settings.masked()["ops_token"] == "set"


def test_all_secrets_are_known_to_whoever_strikes_them_out(env: pytest.MonkeyPatch) -> None:
    settings = read(
        env, **COMPLETE, OPS_TOKEN="ops-secret", SNITKIX_API_URL="u", SNITKIX_API_KEY="k"
    )
    passwords = {"amqp-secret", "redis-secret", "pg-secret"}
    assert set(settings.secrets) == {*COMPLETE.values(), *passwords, "ops-secret", "k"}


def test_the_shown_settings_are_all_that_are_in_force(env: pytest.MonkeyPatch) -> None:
    shown = read(env, WORKER_THREADS="5").masked()
    assert (shown["worker_threads"], shown["database_url"]) == ("5", "set")
    assert "redis_url" not in shown


def test_the_environment_wins_over_the_file(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKER_THREADS=3\nRESULT_TIMEOUT=9\nUNKNOWN_TO_US=1\n")
    env.setenv("WORKER_THREADS", "5")
    settings = load_settings(tmp_path / ".env")
    assert (settings.worker_threads, settings.result_timeout) == (5, 9)


TOKENS = (
    "TELEGRAM_WEBHOOK_SECRET",
    "MANYCHAT_VERIFY_TOKEN",
    "OPS_TOKEN",
    "OPS_READ_TOKEN",
    "TASKS_TOKEN",
    "SESSION_KEY",
)


@pytest.mark.parametrize("name", TOKENS)
@pytest.mark.parametrize("value", ["x", "seven-7", "long-enough-1,short"])
def test_a_short_token_is_refused_when_distributed(
    env: pytest.MonkeyPatch, name: str, value: str
) -> None:
    manychat = {"MANYCHAT_API_KEY": "key"} if name == "MANYCHAT_VERIFY_TOKEN" else {}
    (line,) = refused(env, **{**COMPLETE, **manychat, name: value})
    assert line.startswith(f"{name}: needs at least 8 characters")
    assert value not in line


def test_a_short_token_of_a_named_operator_is_refused(env: pytest.MonkeyPatch) -> None:
    (line,) = refused(env, **COMPLETE, OPS_TOKENS="olena:long-enough-1,taras:short")
    assert line.startswith("OPS_TOKENS: needs at least 8 characters")


def test_a_short_token_is_taken_in_the_embedded_mode(env: pytest.MonkeyPatch) -> None:
    assert read(env, OPS_TOKEN="x").tokens_shorter_than(16) == ["ops_token"]


@pytest.mark.parametrize("value", ["no-colon", "olena:", ":token", "o\nx:token-1"])
def test_an_entry_that_is_no_name_and_token_is_refused_without_its_value(
    env: pytest.MonkeyPatch, value: str
) -> None:
    (line,) = refused(env, OPS_TOKENS=value)
    assert line == "OPS_TOKENS: entry 1 is no name:token"


def test_two_operators_have_two_tokens(env: pytest.MonkeyPatch) -> None:
    (line,) = refused(env, OPS_TOKENS="olena:the-same-token,taras:the-same-token")
    assert line == "OPS_TOKENS: each operator needs a token that no other has"


@pytest.mark.parametrize("acting", ["OPS_TOKEN", "OPS_TOKENS"])
def test_a_reader_has_no_token_of_an_operator(env: pytest.MonkeyPatch, acting: str) -> None:
    token = "olena:the-same-token" if acting == "OPS_TOKENS" else "another,the-same-token"
    (line,) = refused(env, **{acting: token, "OPS_READ_TOKEN": "the-same-token"})
    assert line.startswith("OPS_READ_TOKEN: must differ")


def test_every_value_of_a_token_is_a_secret(env: pytest.MonkeyPatch) -> None:
    settings = read(env, OPS_TOKEN="new-token,old-token", OPS_TOKENS="olena:her-token")
    assert {"new-token", "old-token", "her-token"} <= set(settings.secrets)
    assert settings.masked()["ops_tokens"] == "set"


def test_a_proxy_is_an_address_or_a_network(env: pytest.MonkeyPatch) -> None:
    settings = read(env, TRUSTED_PROXIES="10.0.0.0/8, ::1")
    assert [str(one) for one in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    (line,) = refused(env, TRUSTED_PROXIES="proxy.internal")
    assert line == "TRUSTED_PROXIES: addresses or networks, like 10.0.0.0/8,127.0.0.1"


def test_equal_tokens_for_two_roles_are_refused_by_name_and_not_shown() -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, ops_token="the-same-for-both", ops_read_token="the-same-for-both")
    assert "OPS_READ_TOKEN: must differ from OPS_TOKEN" in str(refused.value)
    assert "the-same-for-both" not in str(refused.value)
