"""Visitors' connections: each request is let through to a server, or refused with headers that announce the closure."""

from __future__ import annotations

import asyncio
from asyncio import IncompleteReadError, StreamReader, StreamWriter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeguard.cluster.local import answers, http1, servers
from edgeguard.cluster.local.exchange import Lost, Passage, onward
from edgeguard.cluster.local.rules import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeguard.cluster.host.sockets import Address
    from edgeguard.cluster.local.rules import Rules

DISCARDED = 65_536  # bytes of a refused request's body that are read to keep its connection


@dataclass(eq=False)
class Doorway:
    """Lets requests through by the rules, which may be replaced at any time.

    `answered` is called whenever the last request that was let through has ended.
    """

    rules: Rules
    answered: Callable[[], None]
    limits: Limits = field(default_factory=Limits)
    _passages: set[Passage] = field(default_factory=set)
    _clients: set[asyncio.Task[Any]] = field(default_factory=set)
    _pool: servers.Pool = field(default_factory=servers.Pool)
    _turn: int = 0

    @property
    def in_flight(self) -> int:
        """Requests that were let through and aren't answered yet."""
        return len(self._passages)

    def cut(self, *, everything: bool = False) -> int:
        """Abort the connections of the requests that were let through (or all connections). Returns how many."""
        cut = list(self._passages)
        self._passages.clear()
        for passage in cut:
            passage.client.transport.abort()
            if passage.server is not None:
                passage.server.writer.transport.abort()
            passage.task.cancel()
        if everything:
            for task in self._clients:
                task.cancel()
            self.forget_connections()
        return len(cut)

    def forget_connections(self) -> None:
        """Close the idle connections to the servers: the servers' processes may be replaced."""
        self._pool.forget()

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One visitor's connection, request after request. It ends at once when the connection is lost, whatever is
        waited for then."""
        task = asyncio.current_task()
        if task is None:
            raise AssertionError("asyncio serves every connection in a task")
        self._clients.add(task)
        lost = asyncio.create_task(_lost(writer))

        def cancel(_: object) -> None:
            task.cancel()

        lost.add_done_callback(cancel)
        try:
            while await self._next(reader, writer, task):
                pass
            await self._flush(writer)
        except (OSError, IncompleteReadError, http1.Malformed, Lost):
            writer.transport.abort()  # an answer that can't be finished must not look finished
        except asyncio.CancelledError:
            pass  # cut, or lost
        finally:
            lost.remove_done_callback(cancel)
            lost.cancel()
            self._clients.discard(task)
            writer.close()

    async def _next(self, reader: StreamReader, writer: StreamWriter, task: asyncio.Task[Any]) -> bool:
        """Answer the next request. False: the connection ends."""
        try:
            async with asyncio.timeout(self.limits.head):
                head = await http1.read_head(reader)
            if not head.strip():
                return bool(head)  # empty lines before a request are ignored (RFC 9112, 2.2)
            request = http1.request(head)
        except TimeoutError:
            return False
        except http1.Malformed as exc:
            return await answers.tell(reader, writer, exc.status, str(exc), limit=self.limits.linger)
        if not self.rules.open:
            return await self._refuse(request, reader, writer)
        passage = Passage(task, reader, writer, request, self.rules, self.limits)
        self._passages.add(passage)
        try:
            keep = await self._pass(passage)
        finally:
            if passage in self._passages:
                self._passages.discard(passage)
                if not self._passages:
                    self.answered()
        if not keep:
            await answers.linger(reader, writer, self.limits.linger)
        return keep

    async def _refuse(self, request: http1.Request, reader: StreamReader, writer: StreamWriter) -> bool:
        """Refuse at once. A short body that is on its way is thrown away; with a long one, the connection is closed."""
        rules = self.rules
        keep = request.keep_alive and not request.expects and isinstance(request.body, int) and request.body < DISCARDED
        green = rules.check_path is not None and request.target.partition(b"?")[0] == rules.check_path
        status = 200 if green else rules.status
        answers.write(writer, status, "closed", *rules.closed, keep=keep, body=request.method != b"HEAD")
        if not keep:
            await answers.linger(reader, writer, self.limits.linger)
            return False
        try:
            async with asyncio.timeout(self.limits.linger):
                await writer.drain()
                async for _ in http1.pieces(reader, request.body):
                    pass
        except TimeoutError:
            return False  # nobody takes the answer, or the body does not come
        return True

    async def _pass(self, passage: Passage) -> bool:
        """Let a request through to the first server that accepts the connection."""
        request, client = passage.request, passage.client
        if request.expects:
            client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = onward(request, client)
        try:
            keep = await self._try_servers(passage, head)
        except http1.Malformed as exc:
            answers.write(client, exc.status, str(exc), keep=False)
            return False
        if keep is None:
            if passage.begun:
                raise Lost
            answers.write(client, 502, "no server answers", keep=False, body=request.method != b"HEAD")
        return bool(keep)

    async def _try_servers(self, passage: Passage, head: bytes) -> bool | None:
        """Whether the client's connection can go on; None where no server gave an answer."""
        for candidate in self._candidates(passage.rules.addresses, fresh=not passage.request.repeatable):
            if isinstance(candidate, servers.Connection):
                server: servers.Connection | None = candidate
            else:
                server = await servers.connect(candidate, self.limits.connect)
            if server is None:
                continue
            passage.server = server
            reusable = False
            try:
                keep, reusable = await passage.exchange(head, server)
            except Lost:
                if passage.begun or not server.used:
                    break
            else:
                return keep
            finally:
                passage.server = None
                if reusable and self.rules is passage.rules:
                    self._pool.put(server)
                else:
                    server.writer.transport.abort()
        return None

    def _candidates(self, addresses: tuple[Address, ...], *, fresh: bool) -> list[servers.Connection | Address]:
        """The servers to try, each in its turn: an idle connection to the first one, then a new connection to each."""
        self._turn += 1
        first = self._turn % max(len(addresses), 1)
        turn = [*addresses[first:], *addresses[:first]]
        idle = None if fresh or not turn else self._pool.take(turn[0])
        return [*turn] if idle is None else [idle, *turn]

    async def _flush(self, writer: StreamWriter) -> None:
        """Wait until the client has taken all that was written to it. Raises TimeoutError where it does not."""
        async with asyncio.timeout(self.limits.patience):
            writer.close()
            await writer.wait_closed()


async def _lost(writer: StreamWriter) -> None:
    """Wait until the connection is closed, by whomever."""
    with suppress(OSError):
        await writer.wait_closed()
