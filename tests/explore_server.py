"""A small server of the page for people: its files, and answers of a reader that is handed in."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from pinnersage import explore
from pinnersage.errors import DataError

PICTURE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">'
    '<rect width="100" height="100" fill="hsl({h} 45% 62%)"/>'
    '<circle cx="{x}" cy="{y}" r="30" fill="hsl({g} 55% 48%)"/>'
    '<path d="M0 100L{x} 45L100 100" fill="hsl({h} 40% 38%)"/></svg>'
)


def picture(name):
    """A drawing that belongs to a name."""
    a, b, c, *_ = hashlib.sha256(name.encode()).digest()
    return PICTURE.format(h=a * 360 // 256, g=b * 360 // 256, x=20 + c % 60, y=20 + b % 50).encode()


@contextmanager
def serving(answer, port=0):
    """Serve the page on this machine; ``answer(user, draw)`` returns a status and what to say."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, query = urlsplit(self.path)[2:4]
            name = path.removeprefix("/explore").lstrip("/") or "explore.html"
            if path.startswith("/explore") and name in explore.FILES:
                self.reply(200, explore.FILES[name], explore.file(name))
            elif path == "/v1/explore":
                asked = parse_qs(query)
                status, body = answer(asked["user"][0], int(asked["draw"][0]))
                self.reply(status, "application/json", json.dumps(body).encode())
            elif path.startswith("/image/"):
                self.reply(200, "image/svg+xml", picture(path))
            else:
                self.reply(404, "application/json", b"{}")

        def reply(self, status, kind, body):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", explore.POLICY)
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def answers_of(reader, settings):
    """Answers as the service gives them: 404 with what is wrong for a user who is not there."""

    def answer(user, draw):
        try:
            return 200, explore.user(reader, settings, user, draw=draw)
        except DataError as error:
            return 404, {"error": str(error)}

    return answer
