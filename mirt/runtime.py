"""Put the business together for one process, with real outside services or stand-ins.

A runtime is opened after the fork, in the process that uses it: connections are not shared.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import SecretStr
from redis import Redis

from mirt.channels import Channel, PollableChannel
from mirt.channels.console import ConsoleChannel
from mirt.channels.manychat import ManyChatChannel, Platform
from mirt.channels.telegram import TelegramChannel
from mirt.clock import Clock
from mirt.conversations import Conversations
from mirt.crm import Crm
from mirt.crm.measured import MeasuredCrm
from mirt.crm.no_crm import NoCrm
from mirt.crm.snitkix import SnitkixCrm
from mirt.delay_notices import DelayNotices
from mirt.deliveries import Deliveries
from mirt.followups import FollowUps
from mirt.health import Health
from mirt.housekeeping import Housekeeping
from mirt.http import CheckableService
from mirt.llm import Agent
from mirt.llm.measured import MeasuredAgent
from mirt.llm.openai import OpenAiAgent
from mirt.llm.scripted import ScriptedAgent
from mirt.observe.logs import configure_ours
from mirt.orders import Orders
from mirt.reachability import Reachability
from mirt.settings import Mode, Settings, load_settings
from mirt.staff import Staff, StaffWebhook
from mirt.store.engine.database import Database
from mirt.store.engine.stores import stores
from mirt.store.queue.claim_hook import ClaimHooks
from mirt.store.queue.failure_handler import UNKNOWN, FailureHandlers
from mirt.store.shared.cooldowns import Cooldowns, LocalCooldowns, NoCooldowns, RedisCooldowns
from mirt.store.shared.rate_limits import LocalRateLimiter, RateLimiter, RedisRateLimiter
from mirt.store.shared.seen_ids import NoSeenIds, RedisSeenIds
from mirt.summaries import Summaries
from mirt.task_names import TaskName
from mirt.timeline import Timelines
from mirt.turns import DirectTurns, FailedTurns, Handovers, Turns
from mirt.turns.attendance import Attendance
from mirt.turns.goal import ReplyGoal
from mirt.turns.limits import AgentLimits
from mirt.turns.person_tags import PersonTags
from mirt.turns.pictures import Pictures
from mirt.webhooks import Webhooks

Show = Callable[[str, str], None]
"""Function that shows a reply (chat id, text) of a channel that has no key."""


@dataclass(frozen=True, slots=True)
class OutsideService:
    """A configured outside service: the base URL of its API, and our key."""

    url: str
    key: SecretStr


_UNUSED: Final = OutsideService("https://unused.invalid", SecretStr("none"))
"""API of a channel that sends nothing, since ``ConsoleChannel`` stands in for it."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The business with its connections, for one process."""

    settings: Settings
    clock: Clock
    database: Database
    channels: Mapping[str, Channel]
    conversations: Conversations
    reachability: Reachability
    deliveries: Deliveries
    turns: Turns
    failed_turns: FailedTurns
    direct: DirectTurns
    handovers: Handovers
    staff: Staff
    orders: Orders
    followups: FollowUps
    delay_notices: DelayNotices
    summaries: Summaries
    housekeeping: Housekeeping
    health: Health
    webhooks: Webhooks
    timelines: Timelines
    failure_handlers: FailureHandlers
    claim_hooks: ClaimHooks
    connections: ExitStack

    def close(self) -> None:
        """Close the connections to the stores and to the outside services."""
        self.connections.close()


def open_runtime(
    settings: Settings, *, clock: Clock | None = None, show: Show = lambda _chat, _text: None
) -> Runtime:
    """Put the business together, by the database's clock if no other is given.

    Connections are opened by their first use.
    """
    database, redis = stores(settings).database, stores(settings).redis
    clock = clock or database.clock
    connections = ExitStack()
    connections.callback(stores(settings).close)
    channels = _channels(settings, redis, show, connections)
    conversations = Conversations(
        database,
        clock,
        RedisSeenIds(redis) if redis is not None else NoSeenIds(),
        platforms=channels.keys(),
        debounce_s=settings.debounce_seconds,
        double_click_s=settings.manychat_double_click_seconds,
        delay_notice_s=_delay_notice_s(settings),
    )
    deliveries = Deliveries(database, channels, clock, _cooldowns(settings, redis))
    agent = _agent(settings, connections)
    attendance = Attendance(settings.handover_minutes)
    goal = ReplyGoal(settings.reply_slo_seconds, settings.reply_slo_share)
    tags = _person_tags(settings)
    turns = Turns(
        database,
        conversations,
        deliveries,
        agent,
        clock,
        max_tokens_per_day=settings.agent_max_tokens_per_day,
        limits=_limits(settings),
        attendance=attendance,
        tags=tags,
        texts=settings.texts,
        pictures=Pictures(channels) if settings.llm_vision else None,
        goal=goal,
    )
    failed_turns = FailedTurns(conversations, clock, settings.texts, goal)
    orders = Orders(database, _crm(settings, connections), clock, settings.texts)
    followups = _followups(settings, database, deliveries, clock, channels)
    return Runtime(
        settings=settings,
        clock=clock,
        database=database,
        channels=channels,
        conversations=conversations,
        reachability=Reachability(database),
        deliveries=deliveries,
        turns=turns,
        failed_turns=failed_turns,
        direct=DirectTurns(database, conversations, turns, failed_turns, clock),
        handovers=Handovers(
            database, conversations, channels, clock, attendance=attendance, tags=tags
        ),
        staff=_staff(settings, database, deliveries, clock, connections),
        orders=orders,
        followups=followups,
        delay_notices=DelayNotices(database, deliveries, clock),
        summaries=Summaries(database, agent, clock, retention_days=settings.summary_retention_days),
        housekeeping=_housekeeping(settings, database, clock),
        health=Health(
            database, {"database": database.ping, "redis": redis.ping if redis else None}, clock
        ),
        webhooks=Webhooks(database, channels, clock, is_polled=settings.mode is Mode.EMBEDDED),
        timelines=Timelines(database, clock),
        claim_hooks={TaskName.PROCESS_MESSAGE: turns, TaskName.PROCESS_AND_RESPOND: turns},
        failure_handlers=_failure_handlers(failed_turns, followups, orders),
        connections=connections,
    )


def _failure_handlers(
    failed_turns: FailedTurns, followups: FollowUps, orders: Orders
) -> FailureHandlers:
    return {
        TaskName.PROCESS_MESSAGE: failed_turns,
        TaskName.PROCESS_AND_RESPOND: failed_turns,
        TaskName.SEND_RESPONSE: failed_turns,
        TaskName.SEND_FOLLOWUP: followups,
        TaskName.CREATE_CRM_ORDER: orders,
        # It may be the turn of another version; then its conversation has to go on.
        UNKNOWN: failed_turns,
    }


def _followups(
    settings: Settings,
    database: Database,
    deliveries: Deliveries,
    clock: Clock,
    channels: Mapping[str, Channel],
) -> FollowUps:
    return FollowUps(
        database,
        deliveries,
        clock,
        delays_h={
            "telegram": settings.followup_delays_hours,
            "manychat": settings.manychat_followup_delays_hours,
        },
        windows={name: channel.messaging_window for name, channel in channels.items()},
        texts=settings.texts.followups,
        quiet=settings.quiet,
    )


def _housekeeping(settings: Settings, database: Database, clock: Clock) -> Housekeeping:
    return Housekeeping(
        database,
        clock,
        retention_days=settings.retention_days,
        audit_retention_days=settings.audit_retention_days,
        conversation_retention_days=settings.conversation_retention_days,
        order_retention_days=settings.order_retention_days,
        dead_letter_retention_days=settings.dead_letter_retention_days,
    )


def _person_tags(settings: Settings) -> PersonTags:
    tag = settings.manychat_person_tag
    return PersonTags({"manychat": tag} if tag else {})


def _staff(
    settings: Settings,
    database: Database,
    deliveries: Deliveries,
    clock: Clock,
    connections: ExitStack,
) -> Staff:
    webhook = None
    if settings.staff_webhook_url is not None:
        webhook = StaffWebhook(settings.staff_webhook_url)
        connections.callback(webhook.close)
    return Staff(database, deliveries, clock, chat_id=settings.staff_chat_id, webhook=webhook)


def _limits(settings: Settings) -> AgentLimits:
    return AgentLimits(
        orders_per_turn=settings.agent_max_orders_per_turn,
        orders_per_day=settings.agent_max_orders_per_day,
        order_total=settings.agent_max_order_total,
        order_items=settings.agent_max_order_items,
        tags=settings.manychat_tags,
        fields=settings.manychat_fields,
    )


def outside_services(settings: Settings) -> dict[str, OutsideService | None]:
    """Return the outside services by name; None for one that is not configured.

    A service that is not configured is replaced: a channel by the console, the LLM by the scripted
    agent, the CRM by one that refuses orders.
    """
    configured = {
        "telegram": (settings.telegram_api_url, settings.telegram_bot_token),
        "manychat": (settings.manychat_api_url, settings.manychat_api_key),
        "llm": (settings.llm_base_url, settings.llm_api_key),
        "crm": (settings.snitkix_api_url, settings.snitkix_api_key),
    }
    return {
        name: None if url is None or key is None else OutsideService(url, key)
        for name, (url, key) in configured.items()
    }


def open_bot(settings: Settings) -> PollableChannel | None:
    """Return the Telegram bot with connections of its own; None if no token is set.

    A long poll holds its connection, which must not be one of those that replies use.
    """
    api = outside_services(settings)["telegram"]
    if api is None:
        return None
    return TelegramChannel(
        token=api.key, secret=settings.telegram_webhook_secret, api_url=api.url, max_connections=2
    )


def open_checkable(settings: Settings) -> dict[str, CheckableService | None]:
    """Return the outside services by name, each with connections of its own, for a check.

    None for one that is not configured, as ``outside_services``.
    """
    opening: dict[str, Callable[[OutsideService], CheckableService]] = {
        "telegram": partial(_telegram, settings, None),
        "manychat": partial(_manychat, settings, None),
        "llm": partial(_llm, settings),
        "crm": partial(_snitkix, settings),
    }
    return {
        name: None if api is None else opening[name](api)
        for name, api in outside_services(settings).items()
    }


def _channels(
    settings: Settings, redis: Redis | None, show: Show, connections: ExitStack
) -> dict[str, Channel]:
    services = outside_services(settings)
    telegram = _telegram(settings, redis, services["telegram"] or _UNUSED)
    manychat = _manychat(settings, redis, services["manychat"] or _UNUSED)
    channels: dict[str, Channel] = {}
    for channel in (telegram, manychat):
        connections.callback(channel.close)
        is_configured = services[channel.name] is not None
        channels[channel.name] = channel if is_configured else ConsoleChannel(channel, show)
    return channels


def _telegram(settings: Settings, redis: Redis | None, api: OutsideService) -> TelegramChannel:
    rate = settings.telegram_sends_per_second
    return TelegramChannel(
        token=api.key,
        secret=settings.telegram_webhook_secret,
        api_url=api.url,
        groups=settings.telegram_groups,
        max_connections=settings.worker_threads,
        send_rate=_rate_limiter(settings, redis, "telegram:send", rate) if rate else None,
    )


def _manychat(settings: Settings, redis: Redis | None, api: OutsideService) -> ManyChatChannel:
    return ManyChatChannel(
        api_key=api.key,
        token=settings.manychat_verify_token or _missing_secret(settings),
        api_url=api.url,
        default_platform=Platform(settings.manychat_platform),
        max_connections=settings.worker_threads,
        send_rate=_rate_limiter(
            settings, redis, "manychat:send", settings.manychat_sends_per_second
        ),
        mark_rate=_rate_limiter(
            settings, redis, "manychat:call", settings.manychat_calls_per_second
        ),
    )


def _missing_secret(settings: Settings) -> SecretStr | None:
    # An empty secret refuses every webhook; None accepts all, in embedded mode (on loopback) only.
    return SecretStr("") if settings.mode is Mode.DISTRIBUTED else None


def _rate_limiter(
    settings: Settings, redis: Redis | None, name: str, per_second: float
) -> RateLimiter:
    if redis is None:
        return LocalRateLimiter(per_second)
    return RedisRateLimiter(redis, name, per_second, processes=settings.manychat_processes)


def _cooldowns(settings: Settings, redis: Redis | None) -> Cooldowns:
    if settings.tasks_eager or not settings.tasks_enabled:
        return NoCooldowns()
    return LocalCooldowns() if redis is None else RedisCooldowns(redis)


def _delay_notice_s(settings: Settings) -> float:
    # Without workers the answer is there before a notice could be sent.
    return settings.delay_notice_seconds if settings.tasks_enabled else 0


def _agent(settings: Settings, connections: ExitStack) -> Agent:
    llm = outside_services(settings)["llm"]
    if llm is None:
        return MeasuredAgent(ScriptedAgent(), "scripted")
    agent = _llm(settings, llm)
    connections.callback(agent.close)
    return MeasuredAgent(agent, settings.llm_model, settings.prices)


def _llm(settings: Settings, api: OutsideService) -> OpenAiAgent:
    return OpenAiAgent(
        api_key=api.key,
        base_url=api.url,
        model=settings.llm_model,
        prompt=settings.prompt,
        summary_prompt=settings.texts.summary_prompt,
        max_tokens=settings.llm_max_tokens,
        temperature=settings.llm_temperature,
        timeout=settings.llm_call_timeout_seconds,
        sends_tools=settings.llm_tools,
        max_connections=settings.worker_threads,
    )


def _crm(settings: Settings, connections: ExitStack) -> Crm:
    api = outside_services(settings)["crm"]
    if api is None:
        return NoCrm()
    crm = _snitkix(settings, api)
    connections.callback(crm.close)
    return MeasuredCrm(crm)


def _snitkix(settings: Settings, api: OutsideService) -> SnitkixCrm:
    return SnitkixCrm(
        api_key=api.key,
        api_url=api.url,
        orders_path=settings.snitkix_orders_path,
        max_connections=settings.worker_threads,
    )


_lock = threading.Lock()
_opened: dict[int, Runtime] = {}


def current_runtime() -> Runtime:
    """Return the runtime of this process; the first call opens it from the environment.

    Raises:
        SettingsError: the environment has no valid configuration.
    """
    with _lock:
        pid = os.getpid()
        if pid not in _opened:
            settings = load_settings()
            configure_ours(settings)
            _opened[pid] = open_runtime(settings)
        return _opened[pid]


def use_runtime(chosen: Runtime) -> None:
    """Set the runtime that ``current_runtime`` returns in this process."""
    with _lock:
        _opened[os.getpid()] = chosen
