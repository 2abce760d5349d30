"""The gateway's client of TorchServe, against servers that are away, silent, or hang up."""

import asyncio

import pytest

from mmkgc.serving.api.gateway import upstream
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.upstream import Gone, TorchServeModel, Upstream
from mmkgc.serving.torchserve.server import free_ports


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()  # until the client gives up
    writer.close()


@pytest.mark.parametrize("behaviour", [None, hang_up, stay_silent])
def test_a_server_without_an_answer_is_gone(behaviour):
    async def ask() -> None:
        (port,) = free_ports(1)
        server = await asyncio.start_server(behaviour, "127.0.0.1", port) if behaviour else None
        model = TorchServeModel(f"http://127.0.0.1:{port}/predictions/mmkgc", timeout=0.5)
        try:
            with pytest.raises(Gone):
                await model.ask(b'{"operation": "model"}')
        finally:
            await model.close()
            if server:
                server.close()

    asyncio.run(ask())


def test_a_model_that_stays_away_is_refused_with_503_after_several_attempts(monkeypatch):
    monkeypatch.setattr(upstream, "FIRST_DELAY", 0.001)

    async def ask() -> Upstream:
        (port,) = free_ports(1)
        asked = Upstream(TorchServeModel(f"http://127.0.0.1:{port}/predictions/mmkgc"))
        with pytest.raises(Refusal, match="does not answer just now") as caught:
            await asked.answer([b"{}"], within=30)
        assert caught.value.response().status_code == 503
        await asked.model.close()
        return asked

    assert asyncio.run(ask()).retries == upstream.ATTEMPTS


class SlowFailure:
    """Fails after a while, as a server whose worker is overworked."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        self.asked += 1
        await asyncio.sleep(0.05)
        return 500, b""

    async def close(self) -> None:
        pass


def test_what_failed_late_is_not_repeated(monkeypatch):
    """Otherwise the model, which may still be at work on it, would do it six times."""
    monkeypatch.setattr(upstream, "SLOW", 0.01)
    model = SlowFailure()
    with pytest.raises(Refusal, match="took too long") as caught:
        asyncio.run(Upstream(model).answer([b"{}"], within=30))
    assert (caught.value.code, model.asked) == ("timeout", 1)
