"""Tell how a day of the shop went: figures of its rows, in the time zone of the shop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from mirt.errors import ErrorCode, PermanentError
from mirt.settings import Settings
from mirt.store.reports import day as store
from mirt.store.reports.day import STEPS_PER_S, Figures, Span
from mirt.store.reports.orders import TROUBLED
from mirt.store.shop.orders import OrderState
from service.admin.context import AdminContext
from service.admin.orders import total_of


@dataclass(frozen=True, slots=True)
class ModelCost:
    """The tokens of a model, and what they cost in US dollars; None without its price."""

    model: str
    turns: int
    prompt: int
    completion: int
    cost: Decimal | None


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the shop. ``reply_s`` has the percentiles 50, 90 and 99, in seconds.

    ``burn_rate`` is how many times faster than allowed replies miss REPLY_SLO_SECONDS; a reply that
    failed counts as missed. ``cost`` is None unless every model has a price.
    """

    day: date
    zone: str
    is_over: bool
    conversations: int
    messages: int
    answered: int
    apologised: int
    failed: int
    cancelled: int
    handed_over: int
    orders: int
    orders_sum: Decimal
    orders_troubled: int
    reply_s: Mapping[int, float] | None
    slo_share: float | None
    burn_rate: float | None
    tokens: Sequence[ModelCost]
    cost: Decimal | None
    followups_sent: int
    followups_answered: int


def read_day(text: str, context: AdminContext, settings: Settings) -> date:
    """Return the day of a text like 2026-03-01; today in the shop if it is empty.

    Raises:
        PermanentError: INVALID_INPUT, it is no day.
    """
    if not text:
        return context.clock().astimezone(ZoneInfo(settings.shop_timezone)).date()
    try:
        found = date.fromisoformat(text)
        _span(found, ZoneInfo(settings.shop_timezone))
    except (ValueError, OverflowError):
        raise PermanentError(
            "day: must be a day like 2026-03-01", ErrorCode.INVALID_INPUT
        ) from None
    return found


def day_of(context: AdminContext, settings: Settings, day: date) -> Day:
    """Return the figures of a day in the shop's zone.

    Raises:
        DatabaseError: the database cannot be read.
    """
    span = _span(day, ZoneInfo(settings.shop_timezone))
    with context.database.transaction() as tx:
        found = store.figures(tx, span)
    share = _share_in_time(found, settings.reply_slo_seconds)
    allowed = 1 - settings.reply_slo_share
    tokens = [
        ModelCost(one.model, one.turns, one.prompt, one.completion, _cost(settings, one))
        for one in found.tokens
    ]
    priced = [one.cost for one in tokens if one.cost is not None]
    created = [data for state, data in found.orders if state == OrderState.CREATED]
    return Day(
        day=day,
        zone=settings.shop_timezone,
        is_over=span.until <= context.clock(),
        conversations=found.conversations,
        messages=sum(found.messages.values()),
        answered=found.messages.get("answered", 0),
        apologised=found.apologies,
        failed=found.messages.get("failed", 0),
        cancelled=found.messages.get("cancelled", 0),
        handed_over=found.handed_over,
        orders=len(created),
        orders_sum=sum((total_of(data) for data in created), Decimal(0)),
        orders_troubled=sum(state in TROUBLED for state, _ in found.orders),
        reply_s=_percentiles(found.replies),
        slo_share=share,
        burn_rate=None if share is None else (1 - share) / allowed,
        tokens=tokens,
        cost=sum(priced, Decimal(0)) if priced and len(priced) == len(tokens) else None,
        followups_sent=found.followups_sent,
        followups_answered=found.followups_answered,
    )


def _span(day: date, zone: ZoneInfo) -> Span:
    def midnight(of: date) -> datetime:
        return datetime.combine(of, time(), zone).astimezone(UTC)

    return Span(midnight(day), midnight(day + timedelta(days=1)))


def _percentiles(replies: Mapping[int, int]) -> dict[int, float] | None:
    total = sum(replies.values())
    if not total:
        return None
    found: dict[int, float] = {}
    for percent in (50, 90, 99):
        seen = 0
        for step in sorted(replies):
            seen += replies[step]
            if seen * 100 >= total * percent:
                # The end of the step: a percentile is never said to be shorter than it was.
                found[percent] = max(step + 1, 0) / STEPS_PER_S
                break
    return found


def _share_in_time(found: Figures, slo_s: float) -> float | None:
    total = sum(found.replies.values()) + found.messages.get("failed", 0)
    if not total:
        return None
    in_time = sum(
        count for step, count in found.replies.items() if (step + 1) / STEPS_PER_S <= slo_s
    )
    return in_time / total


def _cost(settings: Settings, tokens: store.Tokens) -> Decimal | None:
    price = settings.prices.get(tokens.model)
    if price is None:
        return None
    prompt, completion = price
    return (tokens.prompt * prompt + tokens.completion * completion) / 1_000_000
