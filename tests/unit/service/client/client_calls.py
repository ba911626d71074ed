"""One call of a client, the synchronous or the asynchronous one, against a scripted server."""

import asyncio
import inspect

from service.client import AsyncClient, Client

SOUND = b"sound" * 30_000


class Sync:
    def __call__(self, url, name, *arguments, options=None, **settings):
        with Client(url, **settings) as client:
            result = getattr(client, name)(*arguments, **(options or {}))
            return list(result) if inspect.isgenerator(result) else result


class Async:
    def __call__(self, url, name, *arguments, options=None, **settings):
        async def ask():
            async with AsyncClient(url, **settings) as client:
                result = getattr(client, name)(*arguments, **(options or {}))
                if inspect.isasyncgen(result):
                    return [value async for value in result]
                return await result

        return asyncio.run(ask())


def in_turn(*answers):
    """Return a script that gives each answer once, and the last one repeatedly."""
    left = iter(answers)
    last = answers[-1]
    return lambda _: [next(left, last)]
