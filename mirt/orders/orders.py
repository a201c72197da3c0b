"""Create each order once in the CRM, and follow its status.

The CRM has no idempotency key, and has created orders twice. So each request is announced in the
database before it is sent. An order that was requested before is looked up by our own name before
the next request, and adopted if the CRM has it.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import structlog
from sqlalchemy import Connection

from mirt.clock import Clock, time_left
from mirt.crm import Crm, CrmOrder
from mirt.errors import (
    OutcomeUnknownError,
    PermanentError,
    RateLimitError,
    RetryableError,
    SoftTimeLimitExceeded,
    WorkerError,
)
from mirt.observe import metrics, traces
from mirt.orders.body import crm_body
from mirt.orders.identity import changed_details, external_id_before
from mirt.orders.order import Order, read_order
from mirt.orders.refusals import tell_of_failure
from mirt.store.engine.database import Database
from mirt.store.engine.retrying import commit_with_retry
from mirt.store.queue import leases
from mirt.store.queue.leases import Lease
from mirt.store.queue.tasks import TaskMessage
from mirt.store.shop import open_orders
from mirt.store.shop import orders as store
from mirt.store.shop.orders import KeptOrder, NewOrder, OrderState
from mirt.texts import OUR_TEXTS, Texts

log = structlog.get_logger(__name__)

SAME_ORDER_FOR: Final = timedelta(hours=12)
"""Time in which the same order of a customer is one order, although a new day has begun."""
SYNCED_FOR: Final = timedelta(days=60)
"""Age of an order until which its status is followed."""
MOST_LOOKS: Final = 100
"""Orders that one run reads."""
LOOK_S: Final = 10.0
"""Seconds that must be left for one more look."""
LOOK_AGAIN_S: Final = 3
"""Seconds until a task looks again for an order that another task is creating."""
SETTLED_AFTER_S: Final = 30
"""Seconds after a request of unknown outcome in which the CRM may still create the order. An order
that is not found is requested again only after them. It is twice the timeout of a request."""


class RecordFailure(Protocol):
    """Store function for a request that has created no order."""

    def __call__(self, tx: Connection, order: KeptOrder, *, error: str, now: datetime) -> None:
        """Store the outcome of the request, with its error."""


class Orders:
    """The orders: creates them in the CRM and reads their status from it."""

    def __init__(
        self, database: Database, crm: Crm, clock: Clock, texts: Texts = OUR_TEXTS
    ) -> None:
        self._database = database
        self._crm = crm
        self._clock = clock
        self._texts = texts

    def create(self, lease: Lease, order_data: object) -> dict[str, Any]:
        """Create an order, once for each ``external_id``, and return the result of the task.

        Of two orders with the same ``external_id`` the first one is created, and both tasks return
        it; what the second one names differently is logged, for a person to change. An order that
        the CRM has rejected may be corrected and sent again with the same id.

        Raises:
            PermanentError: INVALID_INPUT, naming every wrong field; CRM_REJECTED.
            RateLimitError: the CRM asks to wait, or another task is creating this order.
            ExternalServiceError, LeaseLostError: as for any task.
        """
        order = self._under_its_name(read_order(order_data))
        kept = self._begin(lease, order)
        if kept.state is OrderState.CREATED:
            self._report_changes(order)
            return _result(kept.external_id, kept.crm_order_id)
        if kept.task_id != lease.task_id:
            raise RateLimitError("another task is creating this order", retry_after=LOOK_AGAIN_S)
        found = self._find(kept) or self._ask(lease, kept, order)
        self._store_created(lease, kept, found)
        log.info("order_created", external_id=order.external_id, order_id=found.order_id)
        return _result(order.external_id, found.order_id)

    def sync(self, lease: Lease, order_id: str, session_id: str) -> dict[str, Any]:
        """Read the status of an order from the CRM, store it, and return the result of the task.

        The answer to an earlier request never overwrites that to a later one.

        Raises:
            PermanentError: CRM_REJECTED, the CRM has no such order; INVALID_INPUT.
            RateLimitError, ExternalServiceError, LeaseLostError: as for any task.
        """
        order_id = str(order_id)  # the CRM's ids may be numbers
        asked_at = self._clock()
        with traces.span("crm get order"):
            found = self._crm.get(order_id)
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            store.note_status(
                tx,
                crm_order_id=order_id,
                session_id=session_id,
                status=found.status,
                asked_at=asked_at,
            )
        return {
            "status": "synced",
            "order_id": order_id,
            "order_status": found.status,
            "session_id": session_id,
        }

    def sync_open(self) -> dict[str, int]:
        """Read the status of orders that may still change, and return how many, by outcome.

        Each run takes those that were not looked at for longest, until its time or the patience of
        the CRM is over. The next run goes on: an order that the CRM does not know, or a CRM that
        does not answer, is logged and makes no dead letter.

        Raises:
            DatabaseError: what was read until then is stored.
        """
        since = self._clock() - SYNCED_FOR
        with self._database.transaction() as tx:
            found = open_orders.open_orders(tx, since=since, limit=MOST_LOOKS)
        looks = Counter(read=0, changed=0)
        for order in found:
            if time_left(LOOK_S + 1) <= LOOK_S:
                break
            asked_at = self._clock()
            try:
                status = self._crm.get(order.crm_order_id).status
            except PermanentError as refused:
                log.warning("order_not_read", external_id=order.external_id, why=refused.message)
                status = order.status
            except RetryableError as failed:
                log.warning(
                    "orders_not_read", orders=len(found) - looks["read"], why=failed.message
                )
                break
            with self._database.transaction() as tx:
                is_new = open_orders.note_look(tx, order, status=status, asked_at=asked_at)
            looks.update(read=1, changed=int(is_new))
            if is_new:
                log.info("order_status_changed", external_id=order.external_id, status=status)
        return dict(looks)

    def failed(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Mark an order as failed, in the transaction of its dead letter; tell those concerned."""
        now = self._clock()
        store.failed(tx, task_id, now=now)
        return tell_of_failure(tx, task_id, self._texts.order_not_taken, now=now)

    def may_continue(self, _tx: Connection, _task_id: str) -> bool:
        """Leave an order that passed its limit to an operator: the CRM may have it or not."""
        return False

    def reopened(self, _tx: Connection, _task_id: str) -> bool:
        """Allow a replay at once: ``create`` looks the order up before it requests it again."""
        return True

    def purged(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a purged order like a failed one, without a word to the customer."""
        store.failed(tx, task_id, now=self._clock())
        return []

    def cancelled(self, tx: Connection, task_id: str) -> list[TaskMessage]:
        """Settle a cancelled order like a purged one. The CRM may have it, if it was asked."""
        return self.purged(tx, task_id)

    def _under_its_name(self, order: Order) -> Order:
        """Return the order under the name of the day before, if it is the same order still.

        The agent's names have the day in them, and a customer may write around midnight.
        """
        before = external_id_before(order.external_id)
        if before is None:
            return order
        with self._database.transaction() as tx:
            is_same = store.is_under_way(tx, before, since=self._clock() - SAME_ORDER_FOR)
        return order.model_copy(update={"external_id": before}) if is_same else order

    def _report_changes(self, order: Order) -> None:
        with self._database.transaction() as tx:
            changed = changed_details(store.data_of(tx, order.external_id), order)
        if changed:
            metrics.AGENT_ACTIONS.inc(action="create_order", outcome="changed")
            log.warning("order_changed", external_id=order.external_id, fields=changed)

    def _begin(self, lease: Lease, order: Order) -> KeptOrder:
        new = NewOrder(
            external_id=order.external_id,
            task_id=lease.task_id,
            session_id=order.source_id,
            source=order.source,
            order_data=order.model_dump(mode="json"),
            trace_id=lease.trace_id,
        )
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            kept = store.begin(tx, new, now=self._clock())
        if kept.unknown_since is not None:
            since = kept.unknown_since.isoformat()
            log.warning("order_unknown", external_id=order.external_id, since=since)
        return kept

    def _find(self, kept: KeptOrder) -> CrmOrder | None:
        """Return the order if it was requested before and the CRM has it.

        Raises:
            RateLimitError: the CRM may still be creating it; see ``SETTLED_AFTER_S``.
        """
        if not kept.asked:
            return None
        with traces.span("crm find order"):
            found = self._crm.find(kept.external_id)
        if found is not None:
            log.warning("order_adopted", external_id=kept.external_id, order_id=found.order_id)
        elif kept.unknown_since is not None:
            settled_at = kept.unknown_since + timedelta(seconds=SETTLED_AFTER_S)
            if (left := (settled_at - self._clock()).total_seconds()) > 0:
                raise RateLimitError("the CRM may still be creating this order", retry_after=left)
        return found

    def _ask(self, lease: Lease, kept: KeptOrder, order: Order) -> CrmOrder:
        with self._database.transaction() as tx:
            leases.verify(tx, lease)
            kept = store.ask(tx, kept, now=self._clock())
        leases.ensure_held(self._database, lease, self._clock)
        try:
            with traces.span("crm create order"):
                return self._crm.create(crm_body(order))
        except (OutcomeUnknownError, SoftTimeLimitExceeded) as lost:
            self._settle(store.lost, kept, lost)
            log.warning("order_unknown", external_id=kept.external_id, why=lost.message)
            raise
        except RetryableError as failed:
            self._settle(store.not_created, kept, failed)
            raise
        except PermanentError as refused:
            self._settle(store.rejected, kept, refused)
            raise

    def _store_created(self, lease: Lease, kept: KeptOrder, found: CrmOrder) -> None:
        now = self._clock()

        def write(tx: Connection) -> None:
            leases.verify(tx, lease)
            store.created(tx, kept, crm_order_id=found.order_id, status=found.status, now=now)

        commit_with_retry(self._database, write)

    def _settle(self, record: RecordFailure, kept: KeptOrder, error: WorkerError) -> None:
        why, now = error.message, self._clock()
        commit_with_retry(self._database, lambda tx: record(tx, kept, error=why, now=now))


def _result(external_id: str, crm_order_id: str | None) -> dict[str, Any]:
    return {"status": "created", "order_id": crm_order_id, "external_id": external_id}
