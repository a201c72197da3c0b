"""A CRM that hangs keeps no reply from leaving, in a process that serves both queues."""

from collections.abc import Callable

from actors.crm import create_crm_order
from actors.messages import send_response
from service.processes.worker_main import start_worker, stop_worker
from tests.fakes import FakeServices, Hang
from tests.integration.conftest import Running
from tests.polling import wait_until
from tests.unit.orders.examples import order

THREADS = 4
QUEUES = {"crm", "webhooks"}


def test_orders_that_hang_leave_a_thread_for_replies(
    run: Callable[..., Running], services: FakeServices
) -> None:
    crm = {"snitkix_api_key": "crm-key", "snitkix_api_url": services.crm_url}
    running = run("rabbitmq", work=False, **crm)
    services.misbehave("crm", Hang(), times=None)
    worker = start_worker(running.broker, queues=QUEUES, threads=THREADS, idle_ms=50)
    try:
        for number in range(2 * THREADS):
            create_crm_order.send(order(external_id=f"order-{number}"))
        wait_until(lambda: len(services.requests("crm")) == THREADS - 1)
        send_response.send("telegram", "7", "an apology")
        wait_until(lambda: services.sent("7") == ["an apology"], within_s=10)
        assert len(services.requests("crm")) == THREADS - 1
    finally:
        services.mend("crm")
        services.release()
        stop_worker(worker, grace_s=10)
