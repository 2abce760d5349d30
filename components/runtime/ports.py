"""Listening sockets, opened before the server that uses them starts."""

import errno
import os
import socket

from mmkgc.components.runtime.errors import UserError

WAITING = 2048
"""Backlog of connections that wait to be accepted, as in uvicorn."""


def listener(host: str, port: int) -> socket.socket:
    """A socket that listens on ``host`` and ``port``; it reserves the port while it is open.

    Connections made before the server starts wait. They send each part of an answer at once: the rest of an answer in
    two parts would else wait for the client's acknowledgement, which takes 40 ms. Raises UserError if the port is in
    use or not permitted.
    """
    try:
        if not 0 <= port < 1 << 16:
            raise OverflowError("ports are numbers from 0 to 65535")
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        gate = socket.create_server(address, family=family, backlog=WAITING)
        gate.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it for sockets of its own alone
        return gate
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0
        what = {
            errno.EADDRINUSE: "another program listens on this port",
            errno.EACCES: "this port is for the system's administrator",
            errno.EADDRNOTAVAIL: "this address is not one of this machine's",
        }.get(number, os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error))
        raise UserError(f"{host}, port {port}", what, "choose another with --port (or --host)") from error
