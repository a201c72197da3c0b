"""The counting: what the customers wrote against what they got, by the ids within the texts."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tests.chaos.facts import APOLOGY, Completion, Dead, Delivery, Facts, Told
from tests.chaos.load import name_of, names_in

EXHAUSTED: Final = "RETRIES_EXHAUSTED"
ATTEMPTS: Final = 4
"""The first and the retries of a turn; an apology has more of them."""
MOST_SENT_TWICE: Final = 0.05
"""Share of the replies that may be sent twice and recorded: what broke while they were sent."""
FEW_TURNS: Final = 200
"""Turns of a run so short that one fault meets a large share of them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Each list names messages by their ids."""

    sent: int
    accepted: int
    answered: int
    not_accepted: Sequence[str]
    """Refused until the end of the run."""
    failed: Sequence[str]
    """In a dead letter and in no reply."""
    failed_unexplained: Sequence[str]
    """Failed messages whose dead letter does not say that all retries were used up."""
    undelivered: Sequence[str]
    """Failed messages that the LLM has answered: the customer gets no reply and no apology."""
    silent: Sequence[str]
    """Chats that got fewer apologies than they have turns which the agent never answered."""
    dead_without_need: Sequence[str]
    """Tasks whose dead letter says something else than that all retries were used up."""
    lost: Sequence[str]
    """Accepted, and in no reply and no dead letter."""
    doubled: Sequence[str]
    """Sent once more than the deliveries recorded as unknown explain."""
    doubled_known: int
    """Replies sent again that are recorded as unknown."""
    out_of_order: Sequence[str]
    """First answered after a later message of the same chat."""
    completions: int
    turns: int
    asked_again: int
    """Completions for messages that had one already: lost on its way to us, or not stored."""
    paid_twice: Sequence[str]
    """Asked of the agent after its answer was stored."""
    orders_lost: Sequence[str]
    """Accepted, and neither in the CRM nor in a dead letter."""
    orders_doubled: Sequence[str]
    """In the CRM twice: no outcome allows that, since an order is looked up first."""
    two_voices: Sequence[str]
    """Answered by the bot while a person had the conversation."""
    unheard: Sequence[str]
    """Chats whose customer never got the text of the person."""
    remembered: Sequence[str]
    """Places in which a forgotten customer still is."""
    unfinished: Sequence[str]
    """Chats in which an operator's command never succeeded."""
    slowest_s: float
    median_s: float

    @property
    def kept(self) -> bool:
        """Whether every promise to the customers was kept."""
        return not (
            self.not_accepted
            or self.lost
            or self.doubled
            or self.out_of_order
            or self.failed_unexplained
            or self.silent
            or self.dead_without_need
            or self.paid_twice
            or self.orders_lost
            or self.orders_doubled
            or self.two_voices
            or self.unheard
            or self.remembered
            or self.unfinished
            or self.doubled_known > MOST_SENT_TWICE * max(FEW_TURNS, self.turns)
        )


def judge(facts: Facts) -> Verdict:
    """Count."""
    first = first_answers(facts.told)
    accepted = [name for name, one in facts.sent.items() if one.accepted_at is not None]
    dead = {name: letter for letter in facts.dead for name in letter.names}
    unanswered = [name for name in accepted if name not in first]
    failed = [name for name in unanswered if name in dead]
    doubled, doubled_known = _doubled(facts.told, facts.deliveries)
    waits = sorted(waits_of(facts, first).values())
    return Verdict(
        sent=len(facts.sent),
        accepted=len(accepted),
        answered=len(accepted) - len(unanswered),
        not_accepted=[name for name, one in facts.sent.items() if one.accepted_at is None],
        failed=failed,
        failed_unexplained=[name for name in failed if not _explained(dead[name])],
        undelivered=[name for name in failed if name in facts.stored],
        silent=list(_silent(facts, {name for name in failed if name not in facts.stored})),
        dead_without_need=[one.task_id for one in facts.dead if not _explained(one)],
        lost=[name for name in unanswered if name not in dead],
        doubled=doubled,
        doubled_known=doubled_known,
        out_of_order=list(_out_of_order(first)),
        completions=len(facts.completions),
        turns=facts.turns,
        asked_again=_asked_again(facts.completions),
        paid_twice=list(_paid_twice(facts)),
        orders_lost=_orders_lost(facts),
        orders_doubled=[name for name, times in Counter(facts.created).items() if times > 1],
        two_voices=list(_two_voices(facts, first)),
        unheard=list(_unheard(facts)),
        remembered=facts.remembered,
        unfinished=facts.unfinished,
        slowest_s=waits[-1] if waits else 0.0,
        median_s=waits[len(waits) // 2] if waits else 0.0,
    )


def first_answers(told: Iterable[Told]) -> dict[str, float]:
    """When each message was first answered, in the order in which they were."""
    first: dict[str, float] = {}
    for one in told:
        for name in names_in(one.text):
            first.setdefault(name, one.at)
    return first


def waits_of(facts: Facts, first: dict[str, float]) -> dict[str, float]:
    """Seconds from the 2xx to the reply; none below 0, for a reply may overtake its 2xx."""
    return {
        name: max(0.0, first[name] - one.accepted_at)
        for name, one in facts.sent.items()
        if one.accepted_at is not None and name in first
    }


def _explained(letter: Dead) -> bool:
    return letter.error_code == EXHAUSTED and letter.attempts >= ATTEMPTS


def _doubled(told: Sequence[Told], deliveries: Sequence[Delivery]) -> tuple[list[str], int]:
    """Return the texts that were sent too often, and how many sendings the unknown ones explain."""
    rows: dict[tuple[str, str], list[Delivery]] = defaultdict(list)
    for delivery in deliveries:
        rows[delivery.chat, delivery.text].append(delivery)
    doubled, known = [], 0
    times_named: Counter[str] = Counter()
    for (chat, text), times in Counter((one.chat, one.text) for one in told).items():
        names = names_in(text) or [f"a text without ids to {chat}"]
        times_named.update(names_in(text))
        mine = rows[chat, text]
        excess = times - max(1, len(mine))
        recorded = min(excess, sum(one.unknown for one in mine))
        known += max(0, recorded)
        if excess > recorded:
            doubled += names
    doubled += [name for name, texts in times_named.items() if texts > 1]
    return doubled, known


def _out_of_order(first: Iterable[str]) -> Iterator[str]:
    latest: dict[str, int] = {}
    for name in first:
        chat, _, number = name.partition("-")
        if int(number) < latest.get(chat, -1):
            yield name
        latest[chat] = max(int(number), latest.get(chat, -1))


def _orders_lost(facts: Facts) -> list[str]:
    settled = {*facts.created, *facts.orders_dead}
    return [name for name in facts.ordered if name not in settled]


def _silent(facts: Facts, unanswered: set[str]) -> Iterator[str]:
    owed = Counter(
        letter.names[0].partition("-")[0]
        for letter in facts.dead
        if not letter.task_id.endswith(APOLOGY) and not unanswered.isdisjoint(letter.names)
    )
    got = Counter(one.chat for one in facts.told if not names_in(one.text))
    got.subtract(one.chat for one in facts.deliveries if one.id in set(facts.followups))
    yield from (chat for chat, times in owed.items() if got[chat] < times)


def _two_voices(facts: Facts, first: dict[str, float]) -> Iterator[str]:
    for one in facts.handed_over:
        if one.said and one.unanswered in first:
            yield one.unanswered
        later = [name for name in one.sent if name != name_of(one.chat, 0)]
        yield from (name for name in later if first.get(name, one.back_at) < one.back_at)


def _unheard(facts: Facts) -> Iterator[str]:
    heard = {(one.chat, one.text) for one in facts.told}
    for one in facts.handed_over:
        if one.said and (str(one.chat), one.persons_text) not in heard:
            yield str(one.chat)


def _asked_again(completions: Iterable[Completion]) -> int:
    seen: set[str] = set()
    again = 0
    for one in completions:
        again += not seen.isdisjoint(one.names)
        seen.update(one.names)
    return again


def _paid_twice(facts: Facts) -> Iterator[str]:
    for one in facts.completions:
        for name in one.names:
            if one.asked_at > facts.stored.get(name, one.asked_at):
                yield name
