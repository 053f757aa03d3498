"""A page in headless Chromium: the package's own model, exported by .ci/run or by you.

    python tools/deployment/export.py --format web --out SITE
    PAN_SITE=SITE python -m pytest tests/export/test_browser.py

Needs npm or onnxruntime-web for the first, and playwright (requirements/browser.txt) and Debian's
chromium for the second.
"""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mmseg_pan.inference import Predictor, load_segmentor, read_image
from mmseg_pan.weights.published import SHIPPED
from tests.export.browser import CHROMIUM, browser
from tests.export.site_server import serve

pytest.importorskip('playwright', reason='requirements/browser.txt is not installed')
pytestmark = pytest.mark.skipif(
    not os.environ.get('PAN_SITE') or CHROMIUM is None,
    reason='PAN_SITE names no exported page, or Chromium is not installed',
)


@pytest.fixture(scope='module')
def site() -> Path:
    return Path(os.environ['PAN_SITE'])


@pytest.fixture(scope='module')
def hosts(site):
    """The page on a plain host, and on one that isolates pages; both below a sub-path."""
    with serve(site) as plain, serve(site, isolated=True) as isolated:
        yield {False: plain, True: isolated}


@pytest.fixture(scope='module')
def photographs(tmp_path_factory) -> dict[str, Path]:
    """One picture upright, turned by EXIF, and with a colour profile that swaps red and green."""
    folder = tmp_path_factory.mktemp('photographs')
    picture = aeroplane()
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        'plain': ('plain.jpg', {}),
        'turned': ('turned.jpg', dict(exif=turned)),
        'profile': ('profile.jpg', dict(icc_profile=swapped_profile())),
        'png': ('photo.png', dict(icc_profile=swapped_profile())),
    }
    for name, options in files.values():
        picture.save(folder / name, **options)
    return {key: folder / name for key, (name, _) in files.items()}


def aeroplane() -> Image.Image:
    """A drawing in which the network finds an aeroplane."""
    picture = Image.new('RGB', (640, 480), (140, 180, 230))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((120, 200, 520, 260), (230, 230, 235))
    draw.polygon([(260, 230), (420, 330), (460, 330), (350, 230)], (180, 180, 190))
    draw.polygon([(130, 220), (90, 140), (130, 140), (190, 215)], (200, 40, 40))
    return picture


def swapped_profile() -> bytes:
    """A profile like that of sRGB, with red and green swapped."""
    from PIL import ImageCms

    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())
    count = int.from_bytes(profile[128:132], 'big')
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = (slice(tags[name] + 4, tags[name] + 12) for name in (b'rXYZ', b'gXYZ'))
    profile[red], profile[green] = profile[green], profile[red]
    return bytes(profile)


def ids_of(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize('isolated', [False, True], ids=['one thread', 'threads'])
def test_masks_are_those_of_predict(hosts, photographs, isolated):
    predictor = Predictor(load_segmentor(SHIPPED, None, 'cpu'))
    url, seen = hosts[isolated]
    shares = []
    with browser() as open_page:
        page = open_page(url)
        for file in photographs.values():
            found = ids_of(page.segment(file)[0])
            (expected,) = predictor.predict([predictor.prepare(read_image(file))])
            assert found.shape == expected.shape and found.dtype == np.uint8
            assert len(np.unique(expected)) > 1
            shares.append((found == expected).mean())
        threads = int(page.page.evaluate('document.documentElement.dataset.threads'))
        assert page.errors == [] and page.strangers() == []
    assert min(shares) > 0.99 and np.mean(shares) > 0.999
    assert threads == (max(1, min(os.cpu_count(), 8)) if isolated else 1)
    assert all(path.startswith('/some/where/') for path in seen)


def test_a_photograph_before_the_network_is_there_and_what_is_no_photograph(
    hosts, photographs, tmp_path
):
    with browser() as open_page:
        page = open_page(hosts[False][0])
        page.segment(photographs['plain'])  # waits for the network by itself
        assert page.page.inner_text('#status').startswith('plain.jpg, 640 ')
        broken = tmp_path / 'broken.jpg'
        broken.write_bytes(b'no image')
        with pytest.raises(ValueError, match=r'broken\.jpg is not an image that this browser'):
            page.segment(broken)
        assert page.page.get_attribute('#mask', 'href') is None
        assert page.page.is_hidden('#result')
        page.segment(photographs['plain'])


def test_drop_and_paste(hosts, photographs):
    give = """([type, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], `${type}.jpg`, {type: 'image/jpeg'}));
        const event = type === 'drop'
            ? new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})
            : new ClipboardEvent('paste', {clipboardData: data, bubbles: true});
        document.body.dispatchEvent(event);
    }"""
    with browser() as open_page:
        page = open_page(hosts[False][0])
        for kind in ('drop', 'paste'):
            page.page.evaluate(give, [kind, list(photographs['plain'].read_bytes())])
            page.page.wait_for_selector('#mask[href]', state='attached')
            assert page.page.inner_text('#status').startswith(f'{kind}.jpg, 640')
            with page.page.expect_download() as download:
                page.page.click('#mask')
            assert download.value.suggested_filename == f'{kind}-mask.png'
            assert ids_of(Path(download.value.path()).read_bytes()).shape == (480, 640)


def test_keyboard_classes_and_overlay(hosts, photographs):
    with browser(viewport=dict(width=390, height=844)) as open_page:
        page = open_page(hosts[False][0])
        ids = ids_of(page.segment(photographs['plain'])[0])
        inner = page.page
        assert inner.evaluate('document.body.scrollWidth') <= 390
        names = inner.locator('#classes b').all_inner_texts()
        assert len(names) == len(np.unique(ids)) > 1
        inner.focus('#picture')
        inner.keyboard.press('ArrowRight')
        assert inner.inner_text('#name') in names
        inner.keyboard.press('Escape')
        assert inner.is_hidden('#name')

        def painted():
            with inner.expect_download() as download:
                inner.click('#overlay')
            return np.asarray(Image.open(download.value.path()).convert('RGB')).astype(int)

        photo = np.asarray(Image.open(photographs['plain'])).astype(int)
        shown = painted()
        assert shown.shape == photo.shape
        assert np.abs(shown - photo)[ids > 0].mean() > 20
        for box in inner.locator('#classes input').all():
            box.uncheck()
        assert np.abs(painted() - photo).max() <= 3  # another JPEG decoder


def test_language_of_the_browser_and_switch(hosts):
    with browser(locale='zh-CN') as open_page:
        page = open_page(hosts[False][0])
        assert page.page.inner_text('h1') == '图像语义分割'
        assert page.page.get_attribute('html', 'lang') == 'zh-CN'
        page.page.click('#language')
        assert page.page.inner_text('h1') == 'Segment a photograph'
        page.page.reload()
        assert page.page.inner_text('h1') == 'Segment a photograph'
