"""All processes together keep the account's limit; a customer who has to wait is not forgotten."""

import pytest

from tests.deployment import Deployment, children
from tests.fakes import FakeServices
from tests.polling import wait_until

REPLIES = 200
RATE = 25
SEND = """
from actors.messages import send_response
for number in range({replies}):
    send_response.send_with_options(
        args=("{platform}", str(1000 + number), f"reply {{number}}"), task_id=f"reply-{{number}}"
    )
"""


def most_in_a_second(times: list[float]) -> int:
    return max(sum(begin <= other < begin + 1 for other in times) for begin in times)


@pytest.mark.parametrize("platform", ["manychat", "telegram"])
def test_200_replies_of_three_processes_stay_below_the_rate_and_none_is_lost(
    deployed: Deployment, services: FakeServices, platform: str
) -> None:
    deployed.environment = {
        **deployed.environment,
        "MANYCHAT_API_KEY": "mc-key",
        "MANYCHAT_VERIFY_TOKEN": "flow-token",
        "MANYCHAT_API_URL": services.manychat_url,
        "MANYCHAT_SENDS_PER_SECOND": str(RATE),
        "TELEGRAM_SENDS_PER_SECOND": str(RATE),
    }
    assert deployed.run("migrate") == 0
    worker = deployed.start("worker", "webhooks", "--processes", "3")
    wait_until(lambda: len(children(worker)) == 3)
    deployed.python(SEND.format(platform=platform, replies=REPLIES))
    sent = services.manychat.sent if platform == "manychat" else services.telegram.sent
    wait_until(lambda: len(sent) >= REPLIES, within_s=60)
    times = [request.time for request in services.requests(platform)]
    assert most_in_a_second(times) <= RATE
    assert sorted(sent) == sorted(
        (str(1000 + number), f"reply {number}") for number in range(REPLIES)
    )
