"""The bars of the edge: TLS on HTTP/1.1 and HTTP/2 beside Debian's nginx and Caddy, each on one core.

Certificates, keys and contents are the same for all three. nginx and seance write access lines, as they do by default.
"""

import contextlib
import os
import pathlib
import re
import resource
import socket
import ssl
import statistics
import subprocess

import processes
from table import Table

TOOLS = ["nginx", "caddy", "h2load", "curl", "openssl", "taskset"]
SMALL, LARGE_BYTES = b"x" * 1024, 300_000_000
JSON = '{"message":"pong","timestamp":"2026-11-21T00:00:00.000Z"}'
IDLE = 5000
HANDSHAKES = 3000
RUNS, SECONDS = 5, 2
HTTP = {"h1": ["--h1"], "h2": ["-m", "10"]}


def measure(table: Table, parts, binary, scratch):
    site = scratch / "site"
    site.mkdir()
    site.joinpath("small.txt").write_bytes(SMALL)
    large = site / "large.bin"
    large.write_bytes(os.urandom(1_000_000) * (LARGE_BYTES // 1_000_000))
    certificate = make_certificate(scratch)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        stack.enter_context(processes.kept_in_memory(large))
        upstream = stack.enter_context(upstream_server(scratch))
        # Servers of its own for each kind of work: memory that one has taken is not another's.
        for part in parts:
            mine = scratch / part
            mine.mkdir()
            with contextlib.ExitStack() as up:
                servers = {
                    "seance": up.enter_context(seance(binary, mine, site, certificate, upstream)),
                    "nginx": up.enter_context(nginx(mine, site, certificate, upstream)),
                    "Caddy": up.enter_context(caddy(mine, site, certificate, upstream)),
                }
                globals()[part](table, servers)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


PARTS = ["json", "static", "proxied", "handshakes", "downloads", "idle"]


def make_certificate(scratch):
    chain, key = scratch / "chain.pem", scratch / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", chain]
    subprocess.run([*command.split(), *names], check=True, stderr=subprocess.DEVNULL)
    return chain, key


@contextlib.contextmanager
def seance(binary, scratch, site, certificate, upstream):
    chain, key = certificate
    routes = {
        "/static": f'{{ files = {{ directory = "{site}" }} }}',
        "/upstream": f'{{ proxy = {{ upstreams = ["http://127.0.0.1:{upstream}"] }} }}',
        "/fixed": f"{{ respond = {{ status = 200, content_type = \"application/json\", body = '{JSON}' }} }}",
        "/": '"backend"',
    }
    config = f'[hosts.localhost]\ncertificate_file = "{chain}"\nkey_file = "{key}"\n'
    for path, target in routes.items():
        config += f'[[hosts.localhost.routes]]\npath = "{path}"\nto = {target}\n'
    file = scratch / "seance.toml"
    file.write_text(config)
    settings = {
        "SEANCE_HTTPS__LISTEN": "127.0.0.1:0",
        "SEANCE_SIGNALING__LISTEN": "127.0.0.1:0",
        # Idle connections have to last as long as they are counted.
        "SEANCE_HTTP__IDLE_TIMEOUT_SECONDS": "600",
    }
    with processes.daemon(binary, scratch / "seance", env=settings, config=file) as (server, _):
        port = int(server.addresses["X_SEANCE_HTTPS"].rsplit(":", 1)[1])
        yield server, port


@contextlib.contextmanager
def nginx(scratch, site, certificate, upstream):
    directory, port = scratch / "nginx", processes.free_port()
    directory.mkdir()
    temporary = "".join(f"{kind}_temp_path {directory}/t;\n" for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
    directory.joinpath("nginx.conf").write_text(
        f"""{"user root;" if os.getuid() == 0 else ""}
worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log; worker_rlimit_nofile 65536;
events {{ worker_connections 20000; }}
http {{
  access_log {directory}/access.log; sendfile on; tcp_nopush on; keepalive_timeout 600s; keepalive_requests 1000000000;
  http2_max_requests 1000000000;
  ssl_session_cache off; ssl_session_tickets off; types {{ text/plain txt; }} default_type application/octet-stream;
  {temporary}
  upstream behind {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2; server_name localhost; ssl_certificate {certificate[0]}; ssl_certificate_key {certificate[1]};
    location /static/ {{ alias {site}/; }}
    location /upstream {{ proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /fixed {{ default_type application/json; return 200 '{JSON}'; }}
  }}
}}
"""
    )
    with processes.spawned(["nginx", "-c", directory / "nginx.conf", "-e", directory / "error.log"]) as master:
        processes.wait_for_port(port)
        children = pathlib.Path(f"/proc/{master.pid}/task/{master.pid}/children")
        yield processes.Server(int(children.read_text().split()[0])), port


@contextlib.contextmanager
def caddy(scratch, site, certificate, upstream):
    directory, port = scratch / "caddy", processes.free_port()
    directory.mkdir()
    directory.joinpath("Caddyfile").write_text(
        f"""{{
  admin off
  auto_https disable_redirects
  servers {{
    protocols h1 h2
    timeouts {{
      idle 600s
    }}
  }}
}}
https://localhost:{port} {{
  bind 127.0.0.1
  tls {certificate[0]} {certificate[1]}
  handle_path /static/* {{
    root * {site}
    file_server
  }}
  handle /upstream* {{
    reverse_proxy 127.0.0.1:{upstream}
  }}
  handle /fixed {{
    header Content-Type application/json
    respond `{JSON}`
  }}
}}
"""
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "GOMAXPROCS": "1"}
    command = ["caddy", "run", "--config", directory / "Caddyfile", "--adapter", "caddyfile"]
    with open(directory / "log", "ab") as log, processes.spawned(command, env=env, log=log) as child:
        processes.wait_for_port(port)
        yield processes.Server(child.pid), port


@contextlib.contextmanager
def upstream_server(scratch):
    """A cheap server for the proxies, on the core of the load."""
    directory, port = scratch / "upstream", processes.free_port()
    directory.mkdir()
    directory.joinpath("nginx.conf").write_text(
        f"""{"user root;" if os.getuid() == 0 else ""}
worker_processes 1; daemon off; pid {directory}/pid; error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_temp_path {directory}/t;
  proxy_temp_path {directory}/t; fastcgi_temp_path {directory}/t; uwsgi_temp_path {directory}/t; scgi_temp_path {directory}/t;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{JSON}'; }} }}
}}
"""
    )
    command = ["nginx", "-c", directory / "nginx.conf", "-e", directory / "error.log"]
    with processes.spawned(command, cores=(processes.LOAD_CORE,)):
        processes.wait_for_port(port)
        yield port


def json(table, servers):
    # The others have no API: what they send beside ours is a constant.
    paths = {"seance": "/api/health/ping", "nginx": "/fixed", "Caddy": "/fixed"}
    requests(table, servers, "small JSON of the API", paths, 0.9)
    requests(table, servers, "small JSON, fixed response", "/fixed", 0.9)


def static(table, servers):
    requests(table, servers, "1 KB static file", "/static/small.txt", 0.8)


def proxied(table, servers):
    requests(table, servers, "small JSON through the proxy", "/upstream", 1.1, caddy=5)


def requests(table, servers, work, path, bar=None, caddy=None):
    """`bar` is the most of nginx's CPU, `caddy` how many times less than Caddy's it has to be at least."""
    for version, options in HTTP.items():
        paths = path if isinstance(path, dict) else dict.fromkeys(servers, path)
        for name, (_, port) in servers.items():
            h2load(port, paths[name], options, 1)
        # In turn: what else the machine does burdens all.
        rounds = [
            {name: h2load_cost(server, port, paths[name], options) for name, (server, port) in servers.items()}
            for _ in range(RUNS)
        ]
        cost = {name: statistics.median(one[name] for one in rounds) for name in servers}
        held = None if bar is None else cost["seance"] <= bar * cost["nginx"]
        if held and caddy:
            held = cost["Caddy"] >= caddy * cost["seance"]
        wanted = "" if bar is None else f"≤ {bar} x nginx" + (f", ≤ 1/{caddy} x Caddy" if caddy else "")
        compared(table, f"{work}, {version}, CPU per request", cost, "µs", wanted, held)


def compared(table, work, cost, unit, bar, held):
    ours, nginx, caddy = cost["seance"], cost["nginx"], cost["Caddy"]
    peer = f"nginx: {nginx:.2f} {unit}; Caddy: {caddy:.2f} {unit}"
    table.row(work, f"{ours:.2f} {unit}", peer, f"{ours / nginx:.2f}; {ours / caddy:.2f}", bar, held)


def h2load_cost(server, port, path, options):
    before = server.cpu_seconds()
    done = h2load(port, path, options, SECONDS)
    return (server.cpu_seconds() - before) / done * 1e6


def h2load(port, path, options, seconds):
    """Requests that were answered with 2xx; any other answer is a fault of the set-up."""
    command = ["h2load", *options, "-c", "32", "-D", str(seconds), f"https://localhost:{port}{path}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    good, bad = re.search(r"status codes: (\d+) 2xx, (.*)", printed).groups()
    if int(good) == 0 or not re.fullmatch(r"0 3xx, 0 4xx, 0 5xx", bad):
        raise RuntimeError(f"{path} at port {port}: {printed}")
    return int(good)


def client_context(protocol):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    return context


def connected(port, context):
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    return context.wrap_socket(plain, server_hostname="localhost")


def handshakes(table, servers):
    context, cost = client_context("http/1.1"), {}
    for name, (server, port) in servers.items():
        for _ in range(200):
            connected(port, context).close()
        before = server.cpu_seconds()
        for _ in range(HANDSHAKES):
            connected(port, context).close()
        cost[name] = (server.cpu_seconds() - before) / HANDSHAKES * 1e6
    held = cost["seance"] <= 0.5 * min(cost["nginx"], cost["Caddy"])
    compared(table, "connection with a full TLS 1.3 handshake, CPU", cost, "µs", "≤ 0.5 x both", held)


def downloads(table, servers):
    for version, option in [("h1", "--http1.1"), ("h2", "--http2")]:
        cost, peak = {}, {}
        for name, (server, port) in servers.items():
            command = ["curl", "-sSk", option, "-o", "/dev/null", f"https://localhost:{port}/static/large.bin"]
            subprocess.run(command, check=True)
            server.forget_peak()
            rounds = []
            for _ in range(RUNS):
                before = server.cpu_seconds()
                for _ in range(2):
                    subprocess.run(command, check=True)
                rounds.append((server.cpu_seconds() - before) / (2 * LARGE_BYTES) * 1e9)
            cost[name], peak[name] = sorted(rounds)[RUNS // 2], server.memory_mb("VmHWM")
        held = cost["seance"] <= 0.9 * cost["nginx"]
        compared(table, f"300 MB download, {version}, CPU per GB", cost, "s", "≤ 0.9 x nginx", held)
        compared(table, "  peak memory", peak, "MB", "≤ 16 MB", peak["seance"] <= 16)


def idle(table, servers):
    for version, protocol in [("h1", "http/1.1"), ("h2", "h2")]:
        taken = {}
        for name, (server, port) in servers.items():
            context, open_ones = client_context(protocol), []
            before = server.memory_mb("RssAnon")
            try:
                for _ in range(IDLE):
                    open_ones.append(used_once(connected(port, context), protocol))
                taken[name] = server.settled_mb("RssAnon") - before
            finally:
                for connection in open_ones:
                    connection.close()
        held = taken["seance"] <= taken["nginx"] if version == "h1" else None
        bar = "≤ nginx" if version == "h1" else ""
        compared(table, f"{IDLE} idle TLS connections, {version}, memory", taken, "MB", bar, held)


def used_once(connection, protocol):
    """One request, or for HTTP/2 the preface and its answer, so that what a connection needs is there."""
    if protocol == "h2":
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
    else:
        connection.sendall(b"GET /static/small.txt HTTP/1.1\r\nhost: localhost\r\n\r\n")
    received = connection.recv(65536)
    while protocol != "h2" and not received.endswith(SMALL):
        received += connection.recv(65536)
    return connection
