"""Read the whole configuration once from the environment into one typed object.

``load_settings`` is the only reader of the environment. Wrong or missing values stop the start with
one line for each, naming the variable. No value is printed, since it may be a secret.
"""

import os
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import (
    AliasChoices,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from mirt.quiet_hours import QuietHours
from mirt.server_urls import POSTGRES, RABBITMQ, REDIS, is_sqlite
from mirt.texts import Texts, TextsError, read_text_file, read_texts
from mirt.tokens import SHORTEST, accepted, named_tokens

OLD_NAMES: Final[Mapping[str, str]] = {
    "CELERY_ENABLED": "TASKS_ENABLED",
    "CELERY_EAGER": "TASKS_EAGER",
    "CELERY_CONCURRENCY": "WORKER_THREADS",
    "CELERY_MAX_TASKS_PER_CHILD": "WORKER_MAX_TASKS",
    "CELERY_RESULT_TIMEOUT": "RESULT_TIMEOUT",
}
"""Variable names of the former Celery service, with their new names.

The old names still work, and are reported at the start.
"""

Network = IPv4Network | IPv6Network

EMBEDDED_DATABASE: Final = "sqlite:///var/mirt.db"
MANYCHAT_WINDOW_H: Final = 24


TOKENS: Final = (
    "telegram_webhook_secret",
    "manychat_verify_token",
    "ops_token",
    "ops_read_token",
    "tasks_token",
    "session_key",
)
"""Secrets of callers: each may have two values, ``new,old``, while one is replaced."""
TOO_SHORT: Final = (
    f"needs at least {SHORTEST} characters when RABBITMQ_URL is set; "
    'python -c "import secrets; print(secrets.token_urlsafe(24))"'
)

EMPTY_IS_NONE: Final = ("llm_max_tokens", "llm_temperature")
"""Settings with a default that an empty variable turns off. Others are then as if not set."""


class Mode(StrEnum):
    """Embedded (all in one process) or distributed; it follows from RABBITMQ_URL."""

    EMBEDDED = "embedded"
    DISTRIBUTED = "distributed"


class SettingsError(Exception):
    """A wrong configuration. The text has one line for each problem, and no value."""


def _renamed(new: str) -> AliasChoices:
    old = [was for was, now in OLD_NAMES.items() if now == new]
    return AliasChoices(new.lower(), *(name.lower() for name in old))


class Settings(BaseSettings):
    """The configuration of every process. Each field is an environment variable in lower case."""

    model_config = SettingsConfigDict(
        extra="ignore", frozen=True, hide_input_in_errors=True, env_ignore_empty=True
    )

    calls_outside: ClassVar[bool] = True
    """Whether the process calls outside services, and so needs their keys and the texts."""
    _prompt: str | None = PrivateAttr(None)
    _texts: Texts = PrivateAttr(default_factory=Texts)

    rabbitmq_url: SecretStr | None = Field(
        None, description="AMQP URL. Without it the service runs embedded, in one process."
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis URL: results, shared rate limits and fast deduplication."
    )
    database_url: SecretStr = Field(
        SecretStr(EMBEDDED_DATABASE),
        description="PostgreSQL DSN; in embedded mode also a SQLite URL.",
    )
    tasks_enabled: bool = Field(
        True,
        validation_alias=_renamed("TASKS_ENABLED"),
        description="false: dispatch_message runs the turn in the caller and returns its answer.",
    )
    tasks_eager: bool = Field(
        False,
        validation_alias=_renamed("TASKS_EAGER"),
        description="true: send() runs the actor at once, with all middleware; for tests.",
    )
    worker_threads: int = Field(
        8,
        ge=1,
        le=512,
        validation_alias=_renamed("WORKER_THREADS"),
        description="Tasks that one worker process runs at the same time.",
    )
    worker_max_tasks: int | None = Field(
        None,
        ge=1,
        validation_alias=_renamed("WORKER_MAX_TASKS"),
        description="Tasks after which a worker process is replaced; default: 100 per thread.",
    )
    worker_max_memory_mb: int | None = Field(
        None, ge=1, description="Resident MB above which a worker is replaced; default: no limit."
    )
    result_timeout: int = Field(
        25,
        ge=1,
        le=3600,
        validation_alias=_renamed("RESULT_TIMEOUT"),
        description="Seconds that dispatch_message(wait=True) waits for a result.",
    )
    telegram_bot_token: SecretStr | None = Field(None, description="Token of the Telegram bot.")
    telegram_api_url: str = Field(
        "https://api.telegram.org", description="Base URL of the Bot API."
    )
    telegram_webhook_secret: SecretStr | None = Field(
        None, description="Secret that Telegram sends in X-Telegram-Bot-Api-Secret-Token."
    )
    telegram_groups: Literal["ignore", "addressed"] = Field(
        "ignore",
        description="Messages in groups: ignore them, or answer those addressed to the bot.",
    )
    telegram_sends_per_second: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Messages per second of all processes; empty: as many as Telegram takes.",
    )
    manychat_api_key: SecretStr | None = Field(None, description="Bearer key of the ManyChat API.")
    manychat_api_url: str = Field(
        "https://api.manychat.com", description="Base URL of the ManyChat API."
    )
    manychat_verify_token: SecretStr | None = Field(
        None, description="Secret that ManyChat flows send in X-ManyChat-Token."
    )
    manychat_platform: Literal["instagram", "facebook", "whatsapp", "telegram"] = Field(
        "instagram", description="Platform of customers whose flow sends no type."
    )
    manychat_sends_per_second: float = Field(
        20, gt=0, le=25, description="Messages per second that all processes send together."
    )
    manychat_calls_per_second: float = Field(
        8, gt=0, le=10, description="Other calls per second (tags, fields), all processes together."
    )
    manychat_processes: int = Field(
        4,
        ge=1,
        le=1000,
        description="Most processes that send; each uses its share of the rate without Redis.",
    )
    manychat_tags: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None,
        description="Tags that the agent may set or remove, separated by commas; none: no tag.",
    )
    manychat_fields: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="Fields that the agent may set, separated by commas; none: no field."
    )
    manychat_double_click_seconds: float = Field(
        5,
        ge=0,
        le=300,
        description="Seconds in which the same text without an id is a double click; 0: off.",
    )
    snitkix_api_key: SecretStr | None = Field(None, description="Bearer key of the CRM API.")
    snitkix_api_url: str | None = Field(None, description="Base URL of the CRM API.")
    snitkix_orders_path: str = Field(
        "/api/orders", description="Path of the orders in the CRM API."
    )
    llm_api_key: SecretStr | None = Field(
        None,
        description="Bearer key of the LLM; without it (embedded only) a scripted agent answers.",
    )
    llm_base_url: str = Field(
        "https://openrouter.ai/api/v1", description="Base URL of an OpenAI-compatible API."
    )
    llm_model: str = Field("openai/gpt-4o-mini", description="Model that writes the answers.")
    llm_max_tokens: int | None = Field(
        2048, ge=1, description="Longest answer of the LLM in tokens; empty: not sent."
    )
    llm_temperature: float | None = Field(
        0.3, ge=0, le=2, description="Temperature of the LLM; empty: not sent."
    )
    llm_tools: bool = Field(
        True, description="false: the LLM gets no tools, and colleagues place the orders."
    )
    llm_vision: bool = Field(
        False, description="true: the LLM gets the customers' pictures; its model must see."
    )
    llm_call_timeout_seconds: float = Field(
        30,
        gt=0,
        le=110,
        description="Most seconds for one completion, so that a turn can ask again.",
    )
    agent_max_tokens_per_day: int = Field(
        500_000,
        ge=0,
        description="Tokens that one conversation may cost in 24 hours; 0: no limit.",
    )
    agent_max_orders_per_turn: int = Field(
        1, ge=0, description="Orders that the agent may create in one answer; 0: no limit."
    )
    agent_max_orders_per_day: int = Field(
        3,
        ge=0,
        description="Orders of one customer in 24 hours, after which a person confirms; 0: none.",
    )
    agent_max_order_total: Decimal = Field(
        Decimal(20_000),
        ge=0,
        description="Sum above which a person confirms an order of the agent; 0: no limit.",
    )
    agent_max_order_items: int = Field(
        20,
        ge=0,
        description="Pieces above which a person confirms an order of the agent; 0: no limit.",
    )
    prompt_file: Path | None = Field(
        None, description="Text file with the instructions of the LLM; default: those of MIRT."
    )
    texts_file: Path | None = Field(
        None, description="TOML file with the texts of the shop; default: those of MIRT."
    )
    summary_retention_days: int = Field(
        3, ge=0, description="Days without a message until a conversation is summed up."
    )
    followup_delays_hours: Annotated[tuple[int, ...], NoDecode] = Field(
        (24, 72),
        description="Hours after the customer's last message, one number for each follow-up.",
    )
    manychat_followup_delays_hours: Annotated[tuple[int, ...], NoDecode] = Field(
        (11,),
        description="The same on ManyChat, which takes no message 24 hours after the customer's.",
    )
    shop_timezone: str = Field(
        "Europe/Kyiv", description="Time zone of the shop, by its name in the tz database."
    )
    quiet_hours: str = Field(
        "21-9", description="Hours of the shop in which no follow-up is sent; none: no such hours."
    )
    reply_slo_seconds: float = Field(
        60, gt=0, description="Seconds within which a customer should have the reply."
    )
    reply_slo_share: float = Field(
        0.95, gt=0, lt=1, description="Share of the messages for which that is the goal."
    )
    llm_prices: str = Field(
        "",
        description="Dollars for a million tokens: model=prompt/completion, comma-separated.",
    )
    debounce_seconds: float = Field(
        0,
        ge=0,
        le=60,
        description="Seconds without a new message before a turn begins; 0: at once.",
    )
    backlog_max_messages: int = Field(
        10_000, ge=1, description="Number of waiting messages from which webhooks get 503."
    )
    backlog_max_wait_seconds: float = Field(
        300, gt=0, description="Longest wait in seconds for a worker, after which webhooks get 503."
    )
    retention_days: int = Field(
        30, ge=1, description="Days to keep finished mailbox rows, deliveries and tasks."
    )
    conversation_retention_days: int = Field(
        0, ge=0, description="Days after which a silent conversation is erased; 0: never."
    )
    order_retention_days: int = Field(
        0, ge=0, description="Days after which the customer of an order is erased; 0: never."
    )
    dead_letter_retention_days: int = Field(
        0, ge=0, description="Days after which a dead letter is erased, seen or not; 0: never."
    )
    audit_retention_days: int = Field(365, ge=1, description="Days to keep the acts of operators.")
    manychat_person_tag: str | None = Field(
        None, description="Tag that ManyChat's customers have while a person is in charge."
    )
    handover_minutes: float = Field(
        60,
        ge=0,
        description="Minutes without an act of a person until the bot answers again; 0: never.",
    )
    staff_chat_id: str | None = Field(
        None,
        pattern=r"^-?\d+(#\d+)?$",
        description="Chat of Telegram that is told when a customer asks for a person.",
    )
    staff_webhook_url: SecretStr | None = Field(
        None, description="URL that gets a POST with JSON when a customer asks for a person."
    )
    ops_token: SecretStr | None = Field(
        None, description="Operators' token for /ops; for /tasks too, without TASKS_TOKEN."
    )
    ops_tokens: SecretStr | None = Field(
        None, description="A token for each operator, so that acts have names: olena:token,…"
    )
    ops_read_token: SecretStr | None = Field(
        None, description="Token for read-only access to /ops."
    )
    tasks_token: SecretStr | None = Field(
        None, description="Bearer token for /tasks; default: OPS_TOKEN."
    )
    session_key: SecretStr | None = Field(
        None, description="Random key that signs the sessions of /ops; default: from the tokens."
    )
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-… headers count."
    )
    log_format: Literal["console", "json", "ecs"] = Field(
        "console", description="Format of log lines; ecs: JSON by the Elastic Common Schema."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level that is logged."
    )
    log_texts: bool = Field(False, description="true: log the texts of customers and replies, too.")
    ops_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port of mirt web for all but webhooks and /healthz; default: the same port.",
    )
    ops_host: str = Field("127.0.0.1", description="Address on which OPS_PORT listens.")
    metrics_host: str = Field(
        "", description="Address on which METRICS_PORT listens; default: every address."
    )
    metrics_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="Port on which worker and scheduler serve /metrics; default: none.",
    )
    retry_base_seconds: float = Field(
        10, gt=0, le=60, description="Longest pause in seconds before the first retry of a task."
    )
    lease_seconds: float = Field(
        10,
        gt=0.5,
        le=300,
        description="Seconds without a lease renewal after which another worker may run the task.",
    )

    outage_patience_seconds: float = Field(
        21_600,
        ge=1,
        description="Longest wait in seconds for an outside service that is down; 6 h by default.",
    )
    delay_notice_seconds: float = Field(
        0,
        ge=0,
        description="Seconds without an answer until the customer gets one sentence; 0: none.",
    )

    @field_validator("telegram_webhook_secret")
    @classmethod
    def _as_telegram_allows(cls, value: SecretStr | None) -> SecretStr | None:
        for one in accepted(value):
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,256}", one.get_secret_value()):
                raise ValueError("Telegram allows 1-256 of A-Z a-z 0-9 _ -")
        return value

    @field_validator(*TOKENS)
    @classmethod
    def _with_a_value(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not accepted(value):
            raise ValueError("has no value between its commas")
        return value

    @field_validator("ops_tokens")
    @classmethod
    def _of_names(cls, value: SecretStr | None) -> SecretStr | None:
        named_tokens(value)
        return value

    @field_validator("rabbitmq_url")
    @classmethod
    def _of_rabbitmq(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            RABBITMQ.check(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _of_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            REDIS.check(value.get_secret_value())
        return value

    @field_validator("database_url")
    @classmethod
    def _of_a_database(cls, value: SecretStr) -> SecretStr:
        if not is_sqlite(value.get_secret_value()):
            POSTGRES.check(value.get_secret_value())
        return value

    @field_validator("manychat_tags", "manychat_fields", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        """Read names; ``none`` is the empty list, and without a value every name is allowed."""
        if not isinstance(value, str):
            return value
        names = [name for part in value.split(",") if (name := part.strip())]
        return [] if names == ["none"] else names

    @field_validator("followup_delays_hours", "manychat_followup_delays_hours", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return (
            [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("followup_delays_hours", "manychat_followup_delays_hours")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(hours <= 0 for hours in value) or list(value) != sorted(set(value)):
            raise ValueError("hours must be positive and ascending, like 24,72")
        return value

    @field_validator("manychat_followup_delays_hours")
    @classmethod
    def _within_the_window(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if value and value[-1] >= MANYCHAT_WINDOW_H:
            raise ValueError(f"must be below {MANYCHAT_WINDOW_H}: ManyChat takes no later message")
        return value

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def _of_networks(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            return tuple(ip_network(part, strict=False) for part in parts)
        except ValueError:
            raise ValueError("addresses or networks, like 10.0.0.0/8,127.0.0.1") from None

    @field_validator("staff_webhook_url")
    @classmethod
    def _of_a_webhook(cls, value: SecretStr | None) -> SecretStr | None:
        url = urlsplit(value.get_secret_value()) if value else None
        if url is not None and not (url.scheme in {"http", "https"} and url.netloc):
            raise ValueError("must be an address like https://host/path")
        return value

    @field_validator("shop_timezone")
    @classmethod
    def _of_a_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("there is no such zone; a name like Europe/Kyiv") from None
        return value

    @field_validator("llm_prices")
    @classmethod
    def _of_prices(cls, value: str) -> str:
        for text in filter(None, map(str.strip, value.split(","))):
            _price(text)
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _of_hours(cls, value: str) -> str:
        QuietHours.read(value, ZoneInfo("UTC"))
        return value

    @model_validator(mode="after")
    def _with_texts(self) -> Self:
        """Read the files now: later starts of this process must not find others."""
        problems: list[str] = []
        if self.calls_outside:
            try:
                self._prompt = (
                    read_text_file(self.prompt_file).strip() if self.prompt_file else None
                )
            except TextsError as wrong:
                problems += (f"PROMPT_FILE: {line}" for line in wrong.problems)
            try:
                self._texts = read_texts(self.texts_file) if self.texts_file else Texts()
            except TextsError as wrong:
                problems += (f"TEXTS_FILE: {line}" for line in wrong.problems)
        most = len(self._texts.followups)
        for name in ("followup_delays_hours", "manychat_followup_delays_hours"):
            if not problems and len(getattr(self, name)) > most:
                why = f"at most {most} follow-ups are sent to a silent customer: one for each text"
                problems.append(f"{name.upper()}: {why}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _one_token_for_each(self) -> Self:
        acting = self._acting_tokens()
        if not acting.isdisjoint(accepted(self.ops_read_token)):
            which = "OPS_TOKEN and OPS_TOKENS, which may do more"
            raise ValueError(f"OPS_READ_TOKEN: must differ from {which}")
        owners: dict[SecretStr, str] = dict.fromkeys(accepted(self.ops_token), "OPS_TOKEN")
        for one in named_tokens(self.ops_tokens):
            if owners.setdefault(one.token, one.name) != one.name:
                raise ValueError("OPS_TOKENS: each operator needs a token that no other has")
        return self

    def _acting_tokens(self) -> set[SecretStr]:
        named = (one.token for one in named_tokens(self.ops_tokens))
        return {*accepted(self.ops_token), *named}

    @model_validator(mode="after")
    def _long_enough_when_distributed(self) -> Self:
        if self.mode is Mode.EMBEDDED or not self.calls_outside:
            return self
        short = [f"{name.upper()}: {TOO_SHORT}" for name in self.tokens_shorter_than(SHORTEST)]
        if short:
            raise ValueError("\n".join(short))
        return self

    def tokens_shorter_than(self, characters: int) -> list[str]:
        """Return the settings with a token, an old one too, of fewer characters than that."""
        values = {name: accepted(getattr(self, name)) for name in TOKENS}
        values["ops_tokens"] = tuple(one.token for one in named_tokens(self.ops_tokens))
        return [
            name
            for name, tokens in values.items()
            if any(len(one.get_secret_value()) < characters for one in tokens)
        ]

    @model_validator(mode="after")
    def _complete_when_distributed(self) -> Self:
        if self.mode is Mode.EMBEDDED:
            return self
        missing = list(self._missing_for_calls_outside()) if self.calls_outside else []
        if self.database_url.get_secret_value() == EMBEDDED_DATABASE:
            missing.append("database_url")
        if missing:
            why = "required when RABBITMQ_URL is set"
            raise ValueError("\n".join(f"{name.upper()}: {why}" for name in missing))
        if not self.database_url.get_secret_value().startswith(("postgres://", "postgresql")):
            raise ValueError("DATABASE_URL: must be a PostgreSQL DSN when RABBITMQ_URL is set")
        return self

    def _missing_for_calls_outside(self) -> Iterator[str]:
        for name in ("redis_url", "telegram_bot_token", "telegram_webhook_secret", "llm_api_key"):
            if getattr(self, name) is None:
                yield name
        if bool(self.manychat_api_key) != bool(self.manychat_verify_token):
            yield "manychat_verify_token" if self.manychat_api_key else "manychat_api_key"
        if bool(self.snitkix_api_key) != bool(self.snitkix_api_url):
            yield "snitkix_api_url" if self.snitkix_api_key else "snitkix_api_key"

    @property
    def mode(self) -> Mode:
        """Distributed if RABBITMQ_URL is set, else embedded."""
        return Mode.DISTRIBUTED if self.rabbitmq_url else Mode.EMBEDDED

    @property
    def prices(self) -> Mapping[str, tuple[Decimal, Decimal]]:
        """The prices of LLM_PRICES by model: of a million prompt and completion tokens."""
        return dict(map(_price, filter(None, map(str.strip, self.llm_prices.split(",")))))

    @property
    def quiet(self) -> QuietHours | None:
        """The quiet hours of the shop; None if there are none."""
        return QuietHours.read(self.quiet_hours, ZoneInfo(self.shop_timezone))

    @property
    def prompt(self) -> str | None:
        """The instructions of PROMPT_FILE; None if it is not set."""
        return self._prompt

    @property
    def texts(self) -> Texts:
        """The texts of TEXTS_FILE, or those of MIRT."""
        return self._texts

    @property
    def secrets(self) -> list[str]:
        """All secret values in force, for redaction.

        For a URL also its password, as written and percent-decoded; each value of a list of tokens;
        of STAFF_WEBHOOK_URL, the part that only its owner knows.
        """
        values = (getattr(self, name) for name in type(self).model_fields)
        secrets = [v.get_secret_value() for v in values if isinstance(v, SecretStr)]
        passwords = [p for secret in secrets if "://" in secret and (p := _password(secret))]
        passwords += _webhook_key(self.staff_webhook_url)
        tokens = [one for name in TOKENS for one in accepted(getattr(self, name))]
        tokens += (one.token for one in named_tokens(self.ops_tokens))
        secrets += (one.get_secret_value() for one in tokens)
        return list(dict.fromkeys([*secrets, *passwords, *map(unquote, passwords)]))

    def masked(self) -> dict[str, Any]:
        """Return the effective configuration for the log; secrets are shown as ``set``."""
        return {
            name: ("set" if isinstance(value, SecretStr) else str(value))
            for name in type(self).model_fields
            if (value := getattr(self, name)) is not None
        }


class DatabaseSettings(Settings):
    """The configuration of a command that opens the database only.

    It needs no key of an outside service, so it works on a machine that has none of them.
    """

    calls_outside = False


def load_settings(
    env_file: Path | None = Path(".env"), *, kind: type[Settings] = Settings
) -> Settings:
    """Read the environment, and ``env_file`` for variables that the environment does not set.

    Raises:
        SettingsError: a variable is wrong or missing; the text has one line for each.
    """
    env = {**(dotenv_values(env_file) if env_file else {}), **os.environ}
    turned_off = {name: None for name in EMPTY_IS_NONE if env.get(name.upper()) == ""}
    try:
        return kind(_env_file=env_file, **turned_off)
    except ValidationError as refused:
        raise SettingsError("\n".join(_lines(refused))) from None


def _price(text: str) -> tuple[str, tuple[Decimal, Decimal]]:
    model, equals, price = text.rpartition("=")
    prompt, slash, completion = price.partition("/")
    try:
        prices = Decimal(prompt), Decimal(completion)
    except ArithmeticError:
        prices = Decimal(-1), Decimal(-1)
    if not (model and equals and slash) or min(prices) < 0:
        raise ValueError("a price looks like openai/gpt-4o-mini=0.15/0.60")
    return model, prices


def _webhook_key(url: SecretStr | None) -> list[str]:
    """Return the end of the path and the query: services for chats put their keys there."""
    if url is None:
        return []
    parts = urlsplit(url.get_secret_value())
    return [key for key in (parts.path.rpartition("/")[2], parts.query) if key]


def _password(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def old_names_in_use(env: Mapping[str, str | None] | None = None) -> list[str]:
    """Return one line for each variable set by its old name, in the environment or ``.env``."""
    if env is None:
        env = {**dotenv_values(".env"), **os.environ}
    return [f"{old} is the old name of {new}" for old, new in OLD_NAMES.items() if env.get(old)]


def _lines(refused: ValidationError) -> list[str]:
    lines = []
    for error in refused.errors(include_input=False, include_context=False, include_url=False):
        problem = error["msg"].removeprefix("Value error, ")
        variable = str(error["loc"][0]).upper() if error["loc"] else None
        lines.append(f"{variable}: {problem}" if variable else problem)
    return lines
