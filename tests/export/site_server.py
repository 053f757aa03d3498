"""A static web host for tests: one folder below a sub-path, with or without isolation headers.

Pages of browsers may share memory between threads only where the host sends two headers, COOP and
COEP, https://developer.mozilla.org/docs/Web/API/Window/crossOriginIsolated.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: Where the page lies on the host.
SUB_PATH = '/some/where/'


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder below :data:`SUB_PATH`; everything else does not exist."""

    # As hosts with an old table of types.
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        '.mjs': 'application/octet-stream',
        '.wasm': 'application/octet-stream',
    }

    def __init__(self, *args, isolated: bool, seen: list, **options):
        self.isolated = isolated
        self.seen = seen
        super().__init__(*args, **options)

    def translate_path(self, path: str) -> str:
        self.seen.append(path)
        inside = path.startswith(SUB_PATH)
        return super().translate_path(path[len(SUB_PATH) - 1 :] if inside else '/nowhere')

    def end_headers(self) -> None:
        if self.isolated:
            self.send_header('Cross-Origin-Opener-Policy', 'same-origin')
            self.send_header('Cross-Origin-Embedder-Policy', 'require-corp')
        super().end_headers()

    def log_message(self, *args) -> None:
        pass


@contextmanager
def serve(site: Path, isolated: bool = False) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder on a free port of this machine.

    Yields:
        The address of the page, and the paths that were asked for, which grow.
    """
    seen = []
    handler = partial(Handler, isolated=isolated, seen=seen, directory=str(site))
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f'http://127.0.0.1:{server.server_port}{SUB_PATH}', seen
        finally:
            server.shutdown()
            thread.join()
