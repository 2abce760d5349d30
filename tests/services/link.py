"""A TCP connection that can be cut: a forwarder in front of a server."""

import contextlib
import socket
import threading
from types import TracebackType


class Link:
    """Forwards connections to ``target``, a port of this machine, until it is cut. For a ``with`` block."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        self._cut = False

    def __enter__(self) -> "Link":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
        self._listener.close()

    @property
    def url(self) -> str:
        """The address as clients of HTTP write it."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End every connection, and each new one at once."""
        self._cut = True
        for connection in list(self._open):
            self._end(connection)

    def mend(self) -> None:
        """Forward again."""
        self._cut = False

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                client = self._listener.accept()[0]
                try:
                    server = None if self._cut else socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    server = None
                if server is None:
                    client.close()
                    continue
                self._open |= {client, server}
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=pair, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        self._end(source)
        self._end(target)

    def _end(self, connection: socket.socket) -> None:
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
