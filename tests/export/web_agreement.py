"""Compare a page in headless Chromium with tools/predict.py, and measure its times.

python -m tests.export.web_agreement SITE CHECKPOINT PHOTOGRAPHS... [--isolated] [--config CONFIG]

Needs playwright (pip install playwright) and Debian's chromium. With --isolated the host sends
COOP and COEP, and the page uses threads.
"""

import argparse
import io
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_pan.inference import Predictor, load_segmentor, read_image
from tests.export.browser import browser
from tests.export.site_server import serve


def main() -> None:
    """Print the agreement of each photograph, and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('site', type=Path)
    parser.add_argument('checkpoint')
    parser.add_argument('photographs', nargs='+', type=Path)
    parser.add_argument('--config')
    parser.add_argument('--isolated', action='store_true')
    args = parser.parse_args()
    predictor = Predictor(load_segmentor(args.checkpoint, args.config, 'cpu'))
    shares, times = {}, []
    with serve(args.site, args.isolated) as (url, _), browser() as open_page:
        start = time.perf_counter()
        page = open_page(url)
        page.wait_until_ready()
        loaded = time.perf_counter() - start
        threads = page.page.evaluate('document.documentElement.dataset.threads')
        for file in args.photographs:
            try:
                data, seconds = page.segment(file)
            except ValueError as error:
                print(f'{file.name}: {error}', flush=True)
                continue
            found = np.asarray(Image.open(io.BytesIO(data)))
            (expected,) = predictor.predict([predictor.prepare(read_image(file))])
            shares[file.name] = (found == expected).mean() if found.shape == expected.shape else 0.0
            times.append(seconds)
            print(f'{file.name} {shares[file.name]:.6%} {seconds:.2f} s', flush=True)
    worst = min(shares, key=shares.get)
    mean = np.mean(list(shares.values()))
    print(
        f'{len(shares)} photographs, {threads} thread(s): mean {mean:.5%}, '
        f'worst {shares[worst]:.5%} ({worst}); loaded in {loaded:.1f} s, first mask '
        f'{times[0]:.2f} s, then {statistics.median(times[1:] or times):.2f} s (median)'
    )
    print(f'requests outside the folder: {page.strangers()}; errors: {page.errors}')


if __name__ == '__main__':
    main()
