"""How soon a rollback is seen, with many artefacts published."""

import base64
import json
import statistics
import time

import processes
from load import Connection, builder_key, port_of

ARTEFACTS, DEPLOYS, TIMES = 100_000, 10, 10
FEED = "/updates/darwin-arm64/latest-mac.yml"


def rollback(table, binary, scratch):
    state = scratch / "rollback"
    with processes.daemon(binary, state) as (server, _):
        keyed = [f"x-builder-key: {builder_key(state)}", "content-type: application/json"]
        for n in range(DEPLOYS):
            body = scratch / "many.json"
            body.write_bytes(deploy(n))
            with Connection(port_of(server)) as connection:
                status, answer = connection.post_file("/deploy", body, keyed)
            if status != 200:
                raise RuntimeError(f"deploy answered {status}: {answer}")
        # To the release before and back. The first ones while public copies of the last deploy are still being made.
        delays = [seen_after(server, keyed, DEPLOYS - 1 + turn % 2, scratch) for turn in range(TIMES)]
        memory = server.memory_mb("VmRSS")
    worst = max(delays)
    table.row(
        f"rollback among {ARTEFACTS} artefacts, until the next poll sees it",
        f"{statistics.median(delays) * 1e3:.0f} ms, median of {TIMES} (worst {worst * 1e3:.0f})",
        bar="< 1 s",
        held=worst < 1,
    )
    table.row("  memory then (RSS)", f"{memory:.0f} MB")


def deploy(n):
    """A release with its share of the artefacts, each a few bytes, and the feed that names one of them."""
    names = [f"Notes-1.{n}.0-{number}.zip" for number in range(ARTEFACTS // DEPLOYS - 1)]
    feed = f"version: 1.{n}.0\nfiles:\n  - url: {names[0]}\n    size: {len(names[0])}\n"
    contents = {**{name: name for name in names}, "latest-mac.yml": feed}
    files = [
        {"path": f"releases/darwin-arm64/{name}", "content": base64.b64encode(content.encode()).decode()}
        for name, content in contents.items()
    ]
    return json.dumps({"files": files}).encode()


def seen_after(server, keyed, to, scratch):
    """Seconds from the command until a poll shows what was published as record `to`."""
    command = scratch / "rollback.json"
    command.write_text(json.dumps({"to": to}))
    with Connection(port_of(server)) as operator, Connection(port_of(server)) as app:
        app.read(FEED)
        begun = time.monotonic()
        status, answer = operator.post_file("/api/releases/rollback", command, keyed)
        feed = app.read(FEED)
        delay = time.monotonic() - begun
    if status != 200 or f"version: 1.{to - 1}.0".encode() not in feed:
        raise RuntimeError(f"the rollback to record {to} answered {status}, {answer}; the next poll: {feed!r}")
    return delay
