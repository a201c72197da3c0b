"""The management API of RabbitMQ, as far as the tests ask it: https://www.rabbitmq.com/docs/http-api-reference."""

import base64
import json
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

TIMEOUT = 10
"""Seconds."""


class Management:
    """Asks the management API at ``url``, an address with the user and the password in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._user = parts.username or "guest"
        self._base = parts._replace(netloc=f"{parts.hostname}:{parts.port or 15672}").geturl()
        credentials = f"{self._user}:{parts.password or 'guest'}"
        self._authorization = f"Basic {base64.b64encode(credentials.encode()).decode()}"

    def request(self, method: str, *path: str, body: object = None) -> Any:
        """Ask for ``/api/<path>`` (each part is quoted here) and answer the JSON it gives, if any.

        Raises:
            urllib.error.HTTPError: when the answer is not 2xx.
            OSError: when there is no answer.
        """
        address = "/".join(
            [self._base.rstrip("/"), "api", *(quote(part, safe="") for part in path)]
        )
        request = Request(
            address,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._authorization, "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=TIMEOUT) as response:
            content = response.read()
        return json.loads(content) if content else None

    def create_vhost(self, name: str) -> None:
        """Make the virtual host, if it is not there, and let our user do everything in it."""
        self.request("PUT", "vhosts", name, body={})
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        self.request("PUT", "permissions", name, self._user, body=everything)

    def forbid(self, vhost: str) -> None:
        """Take everything away that our user may do in the virtual host."""
        nothing = {"configure": "^$", "write": "^$", "read": "^$"}
        self.request("PUT", "permissions", vhost, self._user, body=nothing)

    def delete_vhost(self, name: str) -> None:
        """Remove the virtual host with all its queues and connections, if it is there."""
        self._delete("vhosts", name)

    def close_connections(self, vhost: str) -> int:
        """Close what is connected to the virtual host; how many it were.

        A connection is known here about a second after it was made.
        """
        connections = self.request("GET", "vhosts", vhost, "connections")
        for connection in connections:
            self._delete("connections", connection["name"])
        return len(connections)

    def _delete(self, *path: str) -> None:
        try:
            self.request("DELETE", *path)
        except HTTPError as refusal:
            with refusal:
                if refusal.code != 404:
                    raise
