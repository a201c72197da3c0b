"""A TCP proxy that keeps every byte for a while, as a longer way to a server does.

``python -m bench.delay_proxy HOST PORT --ms 5`` prints its own port. A round trip takes ``ms``
longer: each direction half of it. Bytes are delayed, not slowed down: many may be on the way.
"""

import argparse
import asyncio
import contextlib


class DelayProxy:
    """Forwards connections to one server, with a delay in each direction."""

    def __init__(self, host: str, port: int, *, round_trip_s: float) -> None:
        self._host, self._port = host, port
        self._one_way_s = round_trip_s / 2

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection until either side closes it."""
        upstream, to_server = await asyncio.open_connection(self._host, self._port)
        await asyncio.gather(self._forward(reader, to_server), self._forward(upstream, writer))

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2**16):
                loop.call_later(self._one_way_s, writer.write, data)
        loop.call_later(self._one_way_s, writer.close)


async def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.delay_proxy", description=__doc__)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--ms", type=float, default=5)
    asked = parser.parse_args()
    proxy = DelayProxy(asked.host, asked.port, round_trip_s=asked.ms / 1000)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
