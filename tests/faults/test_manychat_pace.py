"""All processes together keep the account's limit; a customer who has to wait is not forgotten."""

from tests.deployment import Deployment, children
from tests.fakes import FakeServices
from tests.polling import wait_until

REPLIES = 200
RATE = 25
SEND = f"""
from actors.messages import send_response
for number in range({REPLIES}):
    send_response.send_with_options(
        args=("manychat", str(1000 + number), f"reply {{number}}"), task_id=f"reply-{{number}}"
    )
"""


def most_in_a_second(times: list[float]) -> int:
    return max(sum(begin <= other < begin + 1 for other in times) for begin in times)


def test_200_replies_of_three_processes_stay_below_the_rate_and_none_is_lost(
    deployed: Deployment, services: FakeServices
) -> None:
    deployed.environment = {
        **deployed.environment,
        "MANYCHAT_API_KEY": "mc-key",
        "MANYCHAT_VERIFY_TOKEN": "flow-token",
        "MANYCHAT_API_URL": services.manychat_url,
        "MANYCHAT_SENDS_PER_SECOND": str(RATE),
    }
    assert deployed.run("migrate") == 0
    worker = deployed.start("worker", "webhooks", "--processes", "3")
    wait_until(lambda: len(children(worker)) == 3)
    deployed.python(SEND)
    wait_until(lambda: len(services.manychat.sent) >= REPLIES, within_s=60)
    times = [request.time for request in services.requests("manychat")]
    assert most_in_a_second(times) <= RATE
    assert sorted(services.manychat.sent) == sorted(
        (str(1000 + number), f"reply {number}") for number in range(REPLIES)
    )
