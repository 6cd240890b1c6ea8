"""A local web server for tests of downloads, which supports Range and can abort or fail on request."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Site:
    """`files` by path; `requests` collects (path, Range). `faults`: how to treat the next requests, one each: a number
    of bytes after which the connection breaks off, or a status. `redirects` by path. `tags`: whether files have ETags;
    `headers` of all files; `surplus`: bytes that Content-Length promises too much. `stall`: number of bytes after which
    connections wait for the event `go_on`."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.faults: list[int | str] = []
        self.redirects: dict[str, str] = {}
        self.knows_range = self.tags = True
        self.headers: dict[str, str] = {}
        self.surplus = 0
        self.stall: int | None = None
        self.go_on = threading.Event()
        self.address = ""


@contextmanager
def serving() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.requests.append((self.path, wanted))
            fault = site.faults.pop(0) if site.faults else None
            if self.path in site.redirects:
                self.send_response(302)
                self.send_header("Location", site.redirects[self.path])
                self.end_headers()
                return
            if isinstance(fault, str) or self.path not in site.files:
                self.send_error(int(fault) if isinstance(fault, str) else 404)
                return
            content, start = site.files[self.path], 0
            tag = f'"{hashlib.md5(content).hexdigest()}"'
            if wanted and site.knows_range and self.headers.get("If-Range", tag) == tag:
                start = int(re.match(r"bytes=(\d+)-", wanted).group(1))
                if start >= len(content):
                    self.send_error(416)
                    return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start + site.surplus))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if site.tags:
                self.send_header("ETag", tag)
            for name, value in site.headers.items():
                self.send_header(name, value)
            self.end_headers()
            body = content[start:][:fault]
            if site.stall is not None:
                self.wfile.write(body[: site.stall])
                self.wfile.flush()
                site.go_on.wait(timeout=30)
                body = body[site.stall :]
            with suppress(ConnectionError):  # the client was killed
                self.wfile.write(body)

        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
