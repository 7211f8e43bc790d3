"""Stamp a new ticket: two capabilities, asked at once, that nobody has registered yet."""

import asyncio

now, ticket = await asyncio.gather(
    call("time.get_current_time", timezone="Europe/Paris"),
    httpbin.uuid(),
)
{"ticket": ticket["uuid"], "opened": now}
