"""The one place that chooses real or fake outside worlds.

Opened after a fork, in the process that uses it: connections are not shared.
"""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from pydantic import SecretStr

from mirt.channels import Channel
from mirt.channels.console import ConsoleChannel
from mirt.channels.telegram import TelegramChannel
from mirt.clock import Clock, utc_now
from mirt.conversations import Conversations
from mirt.deliveries import Deliveries
from mirt.followups import FollowUps
from mirt.health import Health
from mirt.housekeeping import Housekeeping
from mirt.llm import Agent
from mirt.llm.openai import OpenAiAgent
from mirt.llm.scripted import ScriptedAgent
from mirt.settings import Settings, load_settings
from mirt.store.database import Database
from mirt.store.recent import NoRecentIds, RedisRecentIds
from mirt.store.stores import stores
from mirt.summaries import Summaries
from mirt.turns import DirectTurns, Turns

Show = Callable[[str, str], None]
"""Shows a reply that no channel can take: the chat and the text."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """The business with everything it needs, for one process."""

    settings: Settings
    clock: Clock
    database: Database
    channels: Mapping[str, Channel]
    conversations: Conversations
    deliveries: Deliveries
    turns: Turns
    direct: DirectTurns
    followups: FollowUps
    summaries: Summaries
    housekeeping: Housekeeping
    health: Health
    connections: ExitStack

    def close(self) -> None:
        """Give the connections back: to the stores and to the world outside."""
        self.connections.close()


def open_runtime(
    settings: Settings, *, clock: Clock = utc_now, show: Show = lambda _chat, _text: None
) -> Runtime:
    """Put the business together; nothing is connected before it is used."""
    database, redis = stores(settings).database, stores(settings).redis
    connections = ExitStack()
    connections.callback(stores(settings).close)
    channels = _channels(settings, show, connections)
    conversations = Conversations(
        database,
        clock,
        RedisRecentIds(redis) if redis is not None else NoRecentIds(),
        platforms=channels.keys(),
        debounce_s=settings.debounce_seconds,
    )
    deliveries = Deliveries(database, channels, clock)
    agent = _agent(settings, connections)
    turns = Turns(database, conversations, deliveries, agent, clock)
    return Runtime(
        settings=settings,
        clock=clock,
        database=database,
        channels=channels,
        conversations=conversations,
        deliveries=deliveries,
        turns=turns,
        direct=DirectTurns(database, conversations, turns, clock),
        followups=FollowUps(database, deliveries, clock, delays_h=settings.followup_delays_hours),
        summaries=Summaries(database, agent, clock, retention_days=settings.summary_retention_days),
        housekeeping=Housekeeping(database, clock, retention_days=settings.retention_days),
        health=Health(
            database, {"database": database.ping, "redis": redis.ping if redis else None}, clock
        ),
        connections=connections,
    )


def _channels(settings: Settings, show: Show, connections: ExitStack) -> dict[str, Channel]:
    telegram = TelegramChannel(
        token=settings.telegram_bot_token or SecretStr("none"),
        secret=settings.telegram_webhook_secret,
        api_url=settings.telegram_api_url,
        max_connections=settings.worker_threads,
    )
    connections.callback(telegram.close)
    if settings.telegram_bot_token is None:
        return {"telegram": ConsoleChannel(telegram, show)}
    return {"telegram": telegram}


def _agent(settings: Settings, connections: ExitStack) -> Agent:
    if settings.llm_api_key is None:
        return ScriptedAgent()
    agent = OpenAiAgent(
        api_key=settings.llm_api_key,
        base_url=settings.llm_base_url,
        model=settings.llm_model,
        max_connections=settings.worker_threads,
    )
    connections.callback(agent.close)
    return agent


_lock = threading.Lock()
_opened: dict[int, Runtime] = {}


def runtime() -> Runtime:
    """The runtime of this process; opened from the environment if nobody has said otherwise."""
    with _lock:
        pid = os.getpid()
        if pid not in _opened:
            _opened[pid] = open_runtime(load_settings())
        return _opened[pid]


def use(chosen: Runtime) -> None:
    """Let this be the runtime of this process."""
    with _lock:
        _opened[os.getpid()] = chosen
