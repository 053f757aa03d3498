"""The page that a test writes: its numbers, its pictures, and what it must not do."""

import base64
import io
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from mmseg.evaluation import IoUMetric
from PIL import Image

from mmseg_pan import UserError
from mmseg_pan.datasets import CheckedSegDataset
from mmseg_pan.evaluation.intervals import difference_of_networks
from mmseg_pan.reports import report as report_module
from mmseg_pan.reports.gallery import SIDE, errors, photograph
from mmseg_pan.reports.numbers import read_numbers
from mmseg_pan.reports.report import Report

CLASSES = ['background', '<img src=x onerror=alert(1)>', '$a_{', 'a "quoted" & \'odd\' class']
NAMES = ['<script>alert(1)&"\'', *(f'image_{i}' for i in range(9))]
SIZE = (40, 60)


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.words, self._styles = text, [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def prose(self):
        return ' '.join(' '.join(self.words).split())

    def tile(self, title, name):
        """Decode the pictures of a title of an image."""
        return [a['src'] for a in self.all('img') if a['alt'] == f'{title} of {name}']


def decode(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.split(',')[1])))


def make_dataset(root, classes=CLASSES, names=NAMES, **more):
    return CheckedSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        metainfo=dict(classes=classes, palette=[[0, 0, 0], [9, 99, 9], [0, 0, 200], [200, 200, 0]]),
        pipeline=[],
        **more,
    )


def write_maps(folder, root, wrong):
    """Predictions whose share of pixels taken for background grows from image to image."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for number, name in enumerate(NAMES):
        found = np.array(Image.open(root / 'labels' / f'{name}.png'))
        found[found == 255] = 1
        found[random.random(SIZE) < wrong * number / len(NAMES)] = 0
        Image.fromarray(found).save(folder / f'{name}.png')
    return folder


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('odd')
    random = np.random.default_rng(0)
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    for number, name in enumerate(NAMES):
        truth = np.zeros(SIZE, np.uint8)
        truth[5:25, 8:40] = 1 + number % 3
        truth[30:33, 50:53] = 1
        truth[25:26] = 255
        Image.fromarray(truth).save(root / 'labels' / f'{name}.png')
        photo = random.integers(0, 255, (*SIZE, 3), np.uint8)
        Image.fromarray(photo).save(root / 'images' / f'{name}.jpg')
    write_maps(root / 'good', root, 0.5)
    write_maps(root / 'bad', root, 1.0)
    return root


@pytest.fixture(scope='module')
def pages(root):
    """Reports of two runs, and the first of them compared with the second."""
    logs = root / 'run'
    for number, steps in enumerate([(1, 2, 3), (3, 4)]):
        file = logs / str(number) / 'vis_data' / 'scalars.json'
        file.parent.mkdir(parents=True)
        file.write_text('\n'.join(json.dumps(dict(step=s, loss=1 / s, lr=0.1)) for s in steps))
    dataset, found = make_dataset(root), {}
    for folder, maps, other in (('b', 'bad', None), ('a', 'good', None), ('ab', 'good', 'b')):
        page = Report(
            dataset,
            root / folder,
            f'<i>run</i> {maps}',
            root / maps,
            root / other if other else None,
            logs if folder == 'a' else None,
            {'checkpoint': '</td><script>', 'source': 'https://example.org/x.pth'},
            'model = "</pre><script>"',
        ).write()
        found[folder] = Page(page.read_text())
    return found


def metric_of(root, maps):
    metric = IoUMetric(iou_metrics=['mIoU'])
    metric.dataset_meta = dict(classes=CLASSES)
    for name in NAMES:
        truth, found = (
            torch.from_numpy(np.array(Image.open(root / folder / f'{name}.png')))
            for folder in ('labels', maps)
        )
        metric.results.append(metric.intersect_and_union(found, truth, len(CLASSES), 255))
    return metric.compute_metrics(metric.results), metric


def test_numbers_are_those_of_the_metric(pages, root):
    metrics, metric = metric_of(root, 'good')
    text = pages['a'].text
    assert float(re.search(r'id="miou">([\d.]+)', text)[1]) == pytest.approx(metrics['mIoU'])
    assert float(re.search(r'id="accuracy">([\d.]+)', text)[1]) == pytest.approx(metrics['aAcc'])
    areas = [sum(area) for area in zip(*metric.results, strict=True)]
    for label, name in enumerate(CLASSES):
        iou, recall, precision = (100 * float(areas[0][label] / areas[i][label]) for i in (1, 3, 2))
        row = rf'{re.escape(name)} {iou:.2f} {recall:.2f} {precision:.2f} \d+ '
        assert re.search(row, pages['a'].prose), row
    assert '10 images' in pages['a'].prose


def test_recall_by_size_stands_in_the_table(pages, root):
    """The 3x3 square and the row below the box, and the box itself; hits counted by hand."""
    numbers = read_numbers(root / 'a')
    boxes = numbers.components[(numbers.components[:, 2] == 640)]
    assert len(boxes) == 10
    recall = 100 * boxes[:, 3].mean() / 640
    assert re.search(rf'256 to 1,023 10 {recall:.1f} ', pages['a'].prose)
    assert re.search(r'4 to 15 10 \d', pages['a'].prose)


@pytest.mark.parametrize('name', ['a', 'ab'])
def test_page_runs_nothing_and_loads_nothing(pages, name):
    page = pages[name]
    assert {tag for tag, _ in page.tags}.isdisjoint({'script', 'link', 'iframe', 'object', 'i>run'})
    for tag, attrs in page.tags:
        assert not [key for key in attrs if key.startswith('on')], attrs
        for key in ('src', 'href', 'srcset', 'data', 'action'):
            assert attrs.get(key, '#').startswith(('data:image/', '#')), (tag, attrs)
    assert all('x' != a.get('src') for a in page.all('img'))
    assert 'url(' not in page.text and '@import' not in page.text
    policies = [a['content'] for a in page.all('meta') if 'content' in a]
    assert any("default-src 'none'" in policy for policy in policies)
    for text in (*CLASSES, f'{NAMES[0]}.jpg', '<i>run</i> good', '</td><script>', 'https://exa'):
        assert ' '.join(text.split()) in page.prose
    assert 'model = "</pre><script>"' in page.prose


def test_worst_and_best_images_in_their_order(pages, root):
    shown = [unescape(name) for name in re.findall(r'<h4>(.*?)</h4>', pages['a'].text)]
    order = np.argsort(read_numbers(root / 'a').image_iou)
    # Ten images: none is shown twice.
    assert shown == [f'{NAMES[i]}.jpg' for i in (*order[:5], *order[5:][::-1])]
    assert 'The 5 worst images' in pages['a'].prose


def test_lists_are_cut_to_their_length(root, tmp_path, monkeypatch):
    monkeypatch.setattr(report_module, 'SHOWN', 2)
    page = Report(make_dataset(root), tmp_path / 'r', 'x', root / 'good').write()
    order = np.argsort(read_numbers(tmp_path / 'r').image_iou)
    shown = Page(page.read_text()).text
    expected = [f'{NAMES[i]}.jpg' for i in (*order[:2], *order[::-1][:2])]
    assert re.findall(r'alt="image of (image_\d.jpg)', shown) == [
        name for name in expected if name.startswith('image')
    ]


def test_tiles_show_truth_prediction_and_errors(pages, root):
    name = 'image_7.jpg'
    uris = {t: pages['a'].tile(t, name) for t in ('image', 'truth', 'prediction', 'errors')}
    assert all(len(found) == 1 for found in uris.values())
    tiles = {title: decode(found[0]).convert('RGB') for title, found in uris.items()}
    assert {tile.size for tile in tiles.values()} == {SIZE[::-1]}
    truth = np.array(Image.open(root / 'labels/image_7.png'))
    found = np.array(Image.open(root / 'good/image_7.png'))
    palette = np.full((256, 3), 255)
    palette[:4] = make_dataset(root).metainfo['palette']
    np.testing.assert_array_equal(np.asarray(tiles['truth']), palette[truth])
    np.testing.assert_array_equal(np.asarray(tiles['prediction']), palette[found])
    photo = np.asarray(Image.open(root / 'images/image_7.jpg')).astype(int)
    assert np.abs(np.asarray(tiles['image']) - photo).mean() < 40  # a JPEG of noise


def test_error_map_is_red_where_the_prediction_is_wrong():
    wrong, counted = np.zeros((2, 64, 64), bool)
    wrong[:, 32:], counted[:48] = True, True
    picture = np.asarray(decode(errors(np.full((64, 64, 3), 100, np.uint8), wrong, counted)), int)
    red = (picture[..., 0] > 180) & (picture[..., 1] < 100)
    assert red[4:44, 36:60].all() and not red[:44, :28].any() and not red[52:].any()
    assert (picture[52:] > 230).all()


def test_pictures_are_scaled_to_a_moderate_side():
    noise = np.random.default_rng(0).integers(0, 255, (1500, 900, 3), np.uint8)
    uri = photograph(noise)
    assert decode(uri).size == (SIDE * 3 // 5, SIDE)
    # Ninety rows of five such pictures, of pure noise, and still no more than:
    assert 90 * 5 * len(uri) < 45e6
    assert decode(photograph(noise[:10, :1])).size == (1, 10)


def test_training_curves_where_there_are_logs(pages):
    curves = [a for a in pages['a'].all('img') if a['alt'] == 'Training curves']
    assert len(curves) == 1 and decode(curves[0]['src']).size[0] > 500
    assert not [a for a in pages['b'].all('img') if a['alt'] == 'Training curves']
    assert 'id="training"' not in pages['b'].text


def test_plots_are_there(pages):
    for name, count in (('a', 3), ('ab', 4)):
        plots = [a for a in pages[name].all('img') if 'plot' in a.get('class', '')]
        assert len([a for a in plots if a['alt'] != 'Training curves']) == count
        for plot in plots:
            assert min(decode(plot['src']).size) > 100


def test_comparison_tells_the_difference_and_its_interval(pages, root):
    first, second = (read_numbers(root / name) for name in 'ab')
    expected = difference_of_networks(first.confusions, second.confusions)
    assert first.mean_iou > second.mean_iou
    prose = pages['ab'].prose
    assert f'difference in mIoU is {expected["mean"]:+.2f} points' in prose.replace('  ', ' ')
    assert f'[{expected["low"]:+.2f}, {expected["high"]:+.2f}]' in prose
    for numbers in (first, second):
        row = f'{numbers.name} {numbers.mean_iou:.2f} {numbers.accuracy:.2f}'
        assert row in prose
    assert 'alone does not explain it' in prose
    assert 'jackknife' not in pages['a'].prose


def test_comparison_shows_the_images_that_differ_most(pages, root):
    first, second = (read_numbers(root / name) for name in 'ab')
    gaps = first.image_iou - second.image_iou
    most = int(np.argmax(gaps))
    section = pages['ab'].text.split('id="apart"')[1].split('id="worst"')[0]
    better = section.split('<h3>')[1]
    assert re.search('<h4>(.*?)</h4>', better)[1] == f'{NAMES[most]}.jpg'
    caption = f'mIoU {first.image_iou[most]:.1f} (other: {second.image_iou[most]:.1f})'
    assert caption in ' '.join(better.split())
    tiles = pages['ab'].tile('prediction of the other', f'{NAMES[most]}.jpg')
    found = np.array(Image.open(root / 'bad' / f'{NAMES[most]}.png'))
    shown = np.asarray(decode(tiles[0]))
    np.testing.assert_array_equal(shown, found)


def test_comparison_shows_where_the_other_is_better(pages, root, tmp_path):
    page = Report(make_dataset(root), tmp_path / 'ba', 'x', root / 'bad', root / 'a').write()
    first, second = (read_numbers(folder) for folder in (tmp_path / 'ba', root / 'a'))
    gaps = first.image_iou - second.image_iou
    section = page.read_text().split('id="apart"')[1].split('id="worst"')[0]
    shown = [unescape(name) for name in re.findall('<h4>(.*?)</h4>', section.split('<h3>')[2])]
    assert shown == [f'{NAMES[i]}.jpg' for i in np.argsort(gaps) if gaps[i] < 0]
    assert len(shown) > 5


def test_label_maps_of_the_other_that_are_not_what_was_measured_are_left_out(root, tmp_path):
    maps = shutil.copytree(root / 'bad', tmp_path / 'maps')
    Report(make_dataset(root), tmp_path / 'b', 'b', maps).write()
    (maps / 'image_3.png').unlink()
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(maps / 'image_4.png')
    dataset = make_dataset(root)
    html = Report(dataset, tmp_path / 'a', 'a', root / 'good', tmp_path / 'b').write().read_text()
    with_other = set(re.findall(r'alt="prediction of the other of (image_\d)', html))
    assert with_other == {f'image_{i}' for i in range(9)} - {'image_3', 'image_4'}


def test_one_name_twice_is_told_apart(root, tmp_path):
    dataset = make_dataset(root)
    Report(dataset, tmp_path / 'b', 'pan', root / 'bad').write()
    page = Report(dataset, tmp_path / 'a', 'pan', root / 'good', tmp_path / 'b').write()
    assert 'compared with pan (other)' in Page(page.read_text()).prose


def test_one_image_says_nothing_about_others(root, tmp_path):
    dataset = make_dataset(root, indices=1)
    Report(dataset, tmp_path / 'b', 'b', root / 'bad').write()
    page = Report(dataset, tmp_path / 'a', 'a', root / 'good', tmp_path / 'b').write()
    prose = Page(page.read_text()).prose
    assert 'on one image, which says nothing about others' in prose
    assert 'points , 95 % interval' not in prose and 'nan' not in prose


def test_equal_runs_differ_by_nothing(root, tmp_path):
    dataset = make_dataset(root)
    Report(dataset, tmp_path / 'b', 'b', root / 'bad').write()
    prose = Page(
        Report(dataset, tmp_path / 'a', 'a', root / 'bad', tmp_path / 'b').write().read_text()
    ).prose
    assert '+0.00 points' in prose and 'alone can explain it' in prose
    assert prose.count('None.') == 2


def test_images_in_which_nothing_counts_are_not_ranked(root, tmp_path):
    home = tmp_path / 'odd'
    for folder in ('images', 'labels', 'good'):
        shutil.copytree(root / folder, home / folder)
    Image.fromarray(np.full(SIZE, 255, np.uint8)).save(home / 'labels/image_2.png')
    text = Report(make_dataset(home), tmp_path / 'r', 'x', home / 'good').write().read_text()
    assert 'image_2.jpg' not in text and 'image_3.jpg' in text


def test_mistakes_are_told_before_the_test(root, tmp_path, pages):
    dataset = make_dataset(root)

    def other(**changes):
        """Another report, with changed numbers."""
        folder = tmp_path / 'other'
        folder.mkdir(exist_ok=True)
        np.savez(folder / 'report.npz', **{**read_numbers(root / 'b')._asdict(), **changes})
        return folder

    def plan(compared, folder=tmp_path / 'new', data=dataset):
        return Report(data, folder, 'x', None, compared)

    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='file is a file, but outputs need a folder'):
        plan(None, tmp_path / 'file')
    with pytest.raises(UserError, match='file is a file, but outputs need a folder'):
        plan(None, tmp_path / 'file' / 'below')
    with pytest.raises(UserError, match=r'is not a report: it has no report.npz; .*--report DIR'):
        plan(tmp_path)
    with pytest.raises(UserError, match='both name'):
        plan(root / 'b', root / 'b')
    swapped = [CLASSES[i] for i in (0, 2, 1, 3)]
    with pytest.raises(UserError, match=r'other classes than the data set, "\$a_{" where it'):
        plan(other(classes=swapped))
    with pytest.raises(UserError, match='has 3 classes, and the data set 4; compare reports of'):
        plan(other(classes=CLASSES[:3]))
    with pytest.raises(UserError, match=r'other images than the data set, "z.jpg" where it has'):
        plan(other(images=['z.jpg', *read_numbers(root / 'b').images[1:]]))
    matrices = read_numbers(root / 'b').confusions.copy()
    matrices[4, 0, 0] += 1
    with pytest.raises(UserError, match=r'other labels of .*\.jpg than the data set has now'):
        plan(other(confusions=matrices))
    damaged = other()
    (damaged / 'report.npz').write_bytes((damaged / 'report.npz').read_bytes()[:500])
    with pytest.raises(UserError, match=r'report.npz cannot be read as the numbers of a report'):
        plan(damaged)
    np.savez(damaged / 'report.npz', name=np.array([object()]))
    with pytest.raises(UserError, match=r'report.npz cannot be read'):
        plan(damaged)
    unlabelled = CheckedSegDataset(
        data_root=str(root),
        data_prefix=dict(img_path='images'),
        metainfo=dict(classes=CLASSES),
        pipeline=[],
        test_mode=True,
    )
    with pytest.raises(UserError, match='needs labels to compare with'):
        plan(None, data=unlabelled)
    assert not (tmp_path / 'new').exists()


def test_folder_that_cannot_be_written_is_told_before_the_test(root, tmp_path, monkeypatch):
    def refuse(dir):
        raise PermissionError(13, 'Permission denied', str(dir))

    monkeypatch.setattr('mmseg_pan.outputs.TemporaryFile', refuse)
    with pytest.raises(UserError, match=r'cannot be written .*use another folder'):
        Report(make_dataset(root), tmp_path / 'r', 'x')


def test_failure_leaves_the_report_of_before(root, tmp_path):
    maps = shutil.copytree(root / 'good', tmp_path / 'maps')
    report = Report(make_dataset(root), tmp_path / 'r', 'x', maps)
    page = report.write()
    before = {file.name: file.read_bytes() for file in (tmp_path / 'r').iterdir()}
    assert set(before) == {'index.html', 'report.npz'}
    (maps / 'image_8.png').unlink()
    with pytest.raises(UserError, match=r'image_8.png does not exist'):
        report.write()
    Image.fromarray(np.full(SIZE, 7, np.uint8)).save(maps / 'image_8.png')
    with pytest.raises(UserError, match=r'image_8.jpg in .* contains the id 7, .* classes 0 to 3'):
        report.write()
    assert {file.name: file.read_bytes() for file in page.parent.iterdir()} == before


@pytest.mark.parametrize('width', [1280, 500])
def test_a_browser_shows_it(root, pages, tmp_path, width):
    browser = shutil.which('chromium') or shutil.which('google-chrome')
    if not browser:
        pytest.skip('no chromium on PATH to open the page with')
    file = tmp_path / 'page.png'
    command = [
        browser, '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars',
        f'--user-data-dir={tmp_path / "profile"}', f'--window-size={width},6000',
        f'--screenshot={file}', f'file://{root / "ab" / "index.html"}',
    ]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    picture = np.asarray(Image.open(file).convert('RGB')).astype(int)
    assert picture.shape[1] == width
    for colour in ((31, 95, 168), (217, 115, 26), (0, 0, 200)):  # bars of both runs, a prediction
        assert (np.abs(picture - colour).sum(2) < 6).sum() > 50, colour
    assert (picture[:, -4:] > 250).all(), 'something is wider than the page'
