"""A page in headless Chromium, through playwright; both are optional."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
_READY = {'en': 'Ready.', 'zh': '已就绪。'}
_PATIENCE = 300_000  # milliseconds


class Page:
    """An open page; ``page`` is playwright's."""

    def __init__(self, page, url: str):
        self.page = page
        self.url = url
        self.requests: list[str] = []
        self.errors: list[str] = []
        page.set_default_timeout(_PATIENCE)
        page.on('request', lambda request: self.requests.append(request.url))
        page.on('pageerror', lambda error: self.errors.append(str(error)))
        page.on('console', self._keep)
        page.goto(url)

    def _keep(self, message) -> None:
        if message.type in ('error', 'warning'):
            self.errors.append(message.text)

    def wait_until_ready(self) -> None:
        """Wait until the network is loaded."""
        self.page.wait_for_function(
            'texts => texts.includes(document.getElementById("status").textContent)',
            arg=list(_READY.values()),
        )

    def segment(self, file: Path) -> tuple[bytes, float]:
        """Choose a photograph; the mask as a PNG, and the seconds until it was there.

        Raises:
            ValueError: With what the page says is wrong.
        """
        start = time.perf_counter()
        self.page.set_input_files('#photo', file)
        self.page.wait_for_selector('#mask[href], #status.wrong', state='attached')
        seconds = time.perf_counter() - start
        if self.page.query_selector('#status.wrong'):
            raise ValueError(self.page.inner_text('#status'))
        return self.mask(), seconds

    def mask(self) -> bytes:
        """What the link of the mask gives."""
        data = self.page.evaluate(
            """async () => {
                const response = await fetch(document.getElementById('mask').href);
                return [...new Uint8Array(await response.arrayBuffer())];
            }"""
        )
        return bytes(data)

    def strangers(self) -> list[str]:
        """Requests that left the folder of the page; blob: never leaves the browser."""
        here = urlsplit(self.url)

        def is_inside(url: str) -> bool:
            parts = urlsplit(url)
            return parts.scheme == 'blob' or (
                parts.netloc == here.netloc and parts.path.startswith(here.path)
            )

        return [url for url in self.requests if not is_inside(url)]


@contextmanager
def browser(**options) -> Iterator:
    """Headless Chromium.

    Args:
        options: Of playwright's ``new_context``: locale, viewport and so on.

    Yields:
        What opens a :class:`Page` at an address.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=['--no-sandbox', '--disable-dev-shm-usage']
        )
        try:
            context = chromium.new_context(**options)
            yield lambda url: Page(context.new_page(), url)
        finally:
            chromium.close()
