import socket

import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.ports import listener


def test_a_taken_port_is_refused_in_one_sentence() -> None:
    with listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1, port {port}: another program listens on this port — choose"):
            listener("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("192.0.2.1", 0), ("no such host", 0), ("127.0.0.1", 70000)])
def test_an_impossible_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(UserError, match=f"{host}, port {port}: "):
        listener(host, port)


def test_parts_of_an_answer_do_not_wait_for_an_acknowledgement() -> None:
    with (
        listener("127.0.0.1", 0) as gate,
        socket.create_connection(gate.getsockname()),
        gate.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
