"""The same turn without a queue: the caller does the work and gets the answer.

For TASKS_ENABLED=false. Messages of a conversation still go through its mailbox, so callers at the
same moment are answered in order, and whoever finds the conversation idle works for all who wait.
An apology whose bringer has died is brought by who finds it at the head.
"""

import time
import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from mirt.clock import Clock, deadline_in, remaining
from mirt.conversations import Conversations, as_task
from mirt.errors import ErrorCode, LeaseLostError, WorkerError
from mirt.store import leases, mailbox
from mirt.store.database import Database
from mirt.store.deliveries import Delivery, find_delivery
from mirt.store.leases import Claim
from mirt.store.mailbox import KeptMail, Mail
from mirt.store.tasks import Publication
from mirt.turns.endings import SPEAKING, Endings, speaking
from mirt.turns.turn import Outcome, Turns

log = structlog.get_logger(__name__)

LIMIT_S: Final = 85.0
LOOK_AGAIN_S: Final = 0.05


class DirectTurns:
    """Answers a message before it returns."""

    def __init__(
        self,
        database: Database,
        conversations: Conversations,
        turns: Turns,
        endings: Endings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._conversations = conversations
        self._turns = turns
        self._endings = endings
        self._clock = clock

    def answer(self, mail: Mail) -> Outcome:
        """Keep the message, wait for its turn and take it; the result, and what follows from it.

        Raises:
            WorkerError: what the turn failed with; the message is not tried again.
            SoftTimeLimitExceeded: after ``LIMIT_S`` seconds.
        """
        accepted = self._conversations.accept(mail)
        mail = replace(mail, task_id=accepted.task_id, session_id=accepted.session_id)
        owner = f"caller:{uuid.uuid4().hex}"
        following: list[Publication] = []
        with deadline_in(LIMIT_S):
            while (result := self._turns.result_of(mail)) is None:
                if not self._take_head(mail, owner, following):
                    time.sleep(remaining(LOOK_AGAIN_S))
        return Outcome(result, following=following)

    def _take_head(self, mail: Mail, owner: str, following: list[Publication]) -> bool:
        """Work for whoever is at the head; False when somebody else does already."""
        with self._database.transaction() as tx:
            # Not locked: whoever is at the head holds it, and locks the conversation after that.
            head_id = mailbox.head_of(tx, mail.session_id)
            if head_id is None:
                return False
            head = mailbox.find(tx, head_id)
            said = None if head else find_delivery(tx, head_id)
        if head is not None:
            return self._take_turn(mail, head, owner, following)
        return said is not None and self._apologise(said, owner)

    def _take_turn(
        self, mail: Mail, head: KeptMail, owner: str, following: list[Publication]
    ) -> bool:
        now = self._clock()
        with self._database.transaction() as tx:
            claim = leases.claim(
                tx, as_task(head), owner=owner, now=now, lease=timedelta(seconds=LIMIT_S + 5)
            )
        if claim is None:
            return False
        try:
            following += self._turns.answer(claim, head).following
        except LeaseLostError:
            return False
        except Exception as failed:
            self._fail(claim, head)
            if head.task_id == mail.task_id:
                raise
            log.warning("direct_turn_failed", task_id=head.task_id, error=type(failed).__name__)
            return True
        with self._database.transaction() as tx:
            leases.finish(tx, claim, now=self._clock())
        return True

    def _fail(self, claim: Claim, head: KeptMail) -> None:
        now = self._clock()
        with self._database.transaction() as tx:
            leases.bury(tx, claim, error_code=ErrorCode.UNEXPECTED, now=now)
            owed = self._endings.fail(tx, head.task_id)
            apologies = [find_delivery(tx, one.task_id) for one in owed if one.actor == SPEAKING]
        for said in filter(None, apologies):
            self._apologise(said, claim.owner)

    def _apologise(self, said: Delivery, owner: str) -> bool:
        """Bring an apology that stands at the head; False when somebody else does already."""
        with self._database.transaction() as tx:
            claim = leases.claim(
                tx, speaking(said), owner=owner, now=self._clock(), lease=timedelta(seconds=LIMIT_S)
            )
        if claim is None:
            return False
        try:
            self._turns.speak(claim, said)
        except LeaseLostError:
            return False
        except WorkerError as failed:
            log.warning("apology_failed", task_id=said.id, why=failed.message)
            with self._database.transaction() as tx:
                leases.bury(tx, claim, error_code=ErrorCode.UNEXPECTED, now=self._clock())
                self._endings.fail(tx, said.id)
            return True
        with self._database.transaction() as tx:
            leases.finish(tx, claim, now=self._clock())
        return True
