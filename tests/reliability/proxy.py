"""A proxy before a server, which answers late, or with an error."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class Proxy:
    """Listens on a port of its own. What it does may be changed at any time.

    Attributes:
        seconds: before each answer.
        broken: it answers everything with 500.
    """

    def __init__(self, port: int) -> None:
        """
        Args:
            port: of the server.
        """
        self.seconds, self.broken = 0.0, False
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(port))
        self.server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _handler(self, port: int) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            """Passes a request on."""

            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                time.sleep(proxy.seconds)
                if proxy.broken:
                    self.give(500, [("Content-Type", "text/plain")], b"the database is gone")
                    return
                server = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    server.request(self.command, self.path, body, dict(self.headers.items()))
                    got = server.getresponse()
                    status, headers, body = got.status, got.getheaders(), got.read()
                except OSError:
                    status, headers, body = 502, [], b""
                finally:
                    server.close()
                with contextlib.suppress(ConnectionError):  # who asked has not waited
                    self.give(status, headers, body)

            def give(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in OF_A_CONNECTION:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = answer

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
