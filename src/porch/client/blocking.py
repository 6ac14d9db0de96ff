"""`Porch`: the same as `AsyncPorch` for programs without an event loop, from any of their threads."""

import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast

from porch.client.answer import Answer, Tale, Words
from porch.client.api import HEAD, AsyncPorch
from porch.client.background import Background
from porch.client.connection import ANSWER_SECONDS
from porch.client.items import Reconnecting, StreamEvent, Timings
from porch.client.message import Input
from porch.client.resources import Agents, Approvals, Conversations, SignInLinks, Tokens
from porch.client.stream import ATTEMPTS, RunStream
from porch.contract.frames import START, Cursor

A = TypeVar("A")
P = ParamSpec("P")
T = TypeVar("T")
_END: Any = object()


class Twin(Generic[A]):
    """Something asynchronous, and the loop that it lives in."""

    def __init__(self, of: A, background: Background) -> None:
        self._of = of
        self._background = background

    @property
    def inner(self) -> A:
        """What this is the twin of."""
        return self._of

    def wait_for(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the coroutine that it makes answers or raises."""
        return self._background.call(make)


def _blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Twin[A], P], T]:
    @wraps(method)
    def call(self: Twin[A], *args: P.args, **kwargs: P.kwargs) -> T:
        return self.wait_for(partial(method, self.inner, *args, **kwargs))

    return cast("Callable[Concatenate[Twin[A], P], T]", call)


def _each(
    method: Callable[Concatenate[A, P], AsyncIterator[T]],
) -> Callable[Concatenate[Twin[A], P], Iterator[T]]:
    @wraps(method)
    def iterate(self: Twin[A], *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = method(self.inner, *args, **kwargs)
        while (item := self.wait_for(partial(_next, items))) is not _END:
            yield item

    return cast("Callable[Concatenate[Twin[A], P], Iterator[T]]", iterate)


async def _next(items: AsyncIterator[T]) -> T:
    return await anext(items, _END)


class Stream:
    """Iterate for what happens: contract events, and `Resync` for what must be forgotten. One reader at a time.

    It ends with the run or its pause. Leaving it, dropping it and Ctrl-C close its connection and do not cancel
    the run. Raises what RunStream raises.
    """

    def __init__(self, background: Background, stream: RunStream) -> None:
        self._background = background
        self._stream = stream
        self._tale = Tale(stream.run, stream.cursor)
        self._ready: deque[StreamEvent] = deque()
        # A response must be let go in its own loop's thread, whoever drops us.
        self._let_go = weakref.finalize(self, background.soon, stream.close)
        self._let_go.atexit = False

    @property
    def run(self) -> str | None:
        """The run's id, None until the server has taken the message."""
        return self._stream.run

    @property
    def cursor(self) -> Cursor:
        """The place of the last event that was handed out; `resume` goes on from there."""
        return self._tale.cursor

    @property
    def timings(self) -> Timings:
        """When its words came."""
        return self._stream.timings

    def on_lost(self, tell: Callable[[Reconnecting], None]) -> None:
        """Have every lost connection told, from another thread, to a function that returns at once."""
        self._stream.on_lost = tell

    def answer(self) -> Answer:
        """Read on to the end, and answer what it all amounts to: of a resumed stream, what came since.

        Raises what iterating raises, AnswerFailed and AnswerCancelled. A run that waits for somebody is an
        answer with the status "paused".
        """
        with self:
            for _ in self:
                pass
        return self._tale.verdict

    def text_stream(self) -> Generator[str]:
        """The agent's words alone, as they come; together they are `Answer.text`. Raises what `answer` raises.

        Words that a fallback or a takeover made void cannot be taken back here: new ones follow after a blank line.
        """
        words = Words()
        with self:
            for event in self:
                if text := words.take(event):
                    yield text
        _ = self._tale.verdict

    def close(self) -> None:
        """Let go of the connection, from any thread; the run goes on."""
        self._ready.clear()
        self._let_go()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent:
        if not self._ready:
            try:
                self._ready.extend(self._background.call(self._stream.take))
            except BaseException:
                # What came while the wait was interrupted is lost here; the cursor stands before it.
                self.close()
                raise
        if not self._ready:
            raise StopIteration
        event = self._ready.popleft()
        self._tale.take(event)
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class BlockingAgents(Twin[Agents]):
    """A workspace's agents."""

    list = _each(Agents.list)
    get = _blocking(Agents.get)
    create = _blocking(Agents.create)
    update = _blocking(Agents.update)
    change = _blocking(Agents.change)
    delete = _blocking(Agents.delete)
    publish = _blocking(Agents.publish)
    versions = _each(Agents.versions)


class BlockingConversations(Twin[Conversations]):
    """Conversations with agents."""

    create = _blocking(Conversations.create)
    find = _each(Conversations.find)
    get = _blocking(Conversations.get)
    messages = _each(Conversations.messages)
    update = _blocking(Conversations.update)
    delete = _blocking(Conversations.delete)
    restore = _blocking(Conversations.restore)
    share = _blocking(Conversations.share)
    shares = _each(Conversations.shares)
    revoke = _blocking(Conversations.revoke)


class BlockingTokens(Twin[Tokens]):
    """A workspace's tokens."""

    list = _each(Tokens.list)
    create = _blocking(Tokens.create)
    rotate = _blocking(Tokens.rotate)
    revoke = _blocking(Tokens.revoke)


class BlockingApprovals(Twin[Approvals]):
    """Calls that wait for a person."""

    list = _each(Approvals.list)
    get = _blocking(Approvals.get)


class BlockingSignInLinks(Twin[SignInLinks]):
    """Links that sign a browser in, once."""

    create = _blocking(SignInLinks.create)


class Porch(Twin[AsyncPorch]):
    """A Porch server. A context manager; all methods raise ApiError, Unreachable, WrongAddress and Closed.

    with Porch() as porch:
        answer = porch.ask("@home/hello", "Good evening!")
        for event in porch.stream(answer.conversation, "And now?"):
            ...

    Usable from several threads at once. Where a method takes `to`, that is an agent, "@workspace/name", with whom
    a new conversation begins, or the id of a conversation, which goes on.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = ANSWER_SECONDS,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Without `url` and `token`: PORCH_URL and PORCH_TOKEN, else the data folder's `credentials.json`.

        `timeout`, in seconds, is for one answer that is no stream. `attempts` is how often in a row a lost stream
        is tried again, the later ones 5 s apart. Raises SetupError.
        """
        inner = AsyncPorch(url, token, timeout=timeout, attempts=attempts)
        background = Background(inner.close)
        super().__init__(inner, background)
        self.agents = BlockingAgents(inner.agents, background)
        self.conversations = BlockingConversations(inner.conversations, background)
        self.tokens = BlockingTokens(inner.tokens, background)
        self.approvals = BlockingApprovals(inner.approvals, background)
        self.sign_in_links = BlockingSignInLinks(inner.sign_in_links, background)
        self._close = weakref.finalize(self, background.close)

    me = _blocking(AsyncPorch.me)
    readiness = _blocking(AsyncPorch.readiness)
    ask = _blocking(AsyncPorch.ask)
    run = _blocking(AsyncPorch.run)
    get_run = _blocking(AsyncPorch.get_run)
    cancel = _blocking(AsyncPorch.cancel)
    approve = _blocking(AsyncPorch.approve)
    deny = _blocking(AsyncPorch.deny)

    def stream(
        self,
        to: str,
        message: Input,
        *,
        parent: str | None = HEAD,
        draft: bool = False,
        key: str | None = None,
        timeout: float | None = None,
    ) -> Stream:
        """Say something and follow the answer. However often it is sent, the message counts once.

        It follows the conversation's head, or `parent`, another of its messages (None: its start). With `draft`
        a new conversation is with the agent's draft. Nothing is sent before the first event is asked for.
        """
        made = self.inner.stream(to, message, parent=parent, draft=draft, key=key, timeout=timeout)
        return Stream(self._background, made)

    def resume(self, run: str, after: Cursor | str = START, *, timeout: float | None = None) -> Stream:
        """Follow a run from its start, or from after a place in it, such as a stream's `cursor`, "1-57"."""
        return Stream(self._background, self.inner.resume(run, after, timeout=timeout))

    def regenerate(
        self, conversation: str, message: str, *, key: str | None = None, timeout: float | None = None
    ) -> Stream:
        """Have a message answered anew, beside the answer that is there, and follow that; named by either."""
        made = self.inner.regenerate(conversation, message, key=key, timeout=timeout)
        return Stream(self._background, made)

    def close(self) -> None:
        """Close all sockets and end the thread behind; streams that are read in other threads raise Closed."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
