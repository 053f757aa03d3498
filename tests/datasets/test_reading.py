"""Training, verification and prediction read an image alike, or all refuse it by name."""

import numpy as np
import pytest

from mmseg_pan.datasets.inspection import SEVERITY
from mmseg_pan.datasets.reading import Loading
from mmseg_pan.errors import UserError
from mmseg_pan.inference.images import as_bgr, read_image
from mmseg_pan.verification.verify import verify
from tests.datasets.odd_images import JPEG, PNG, READ, REFUSED, deep, opencv, rgb, transparent
from tests.datasets.own_data import HEIGHT, PIPELINE, WIDTH, build, config_file, write_pair

TURNED = ('EXIF 6', 'EXIF 8')


def trained_on(root, **changes) -> np.ndarray:
    """What the network is given in training, ``(H, W, C)``."""
    dataset = build(root, img_suffix='.img', **changes)
    return dataset[0]['inputs'].numpy().transpose(1, 2, 0)


def write(root, content: bytes, shape=(HEIGHT, WIDTH)):
    """A pair with this image; the loader goes by what is inside a file, not by its suffix."""
    path = write_pair(root, shape=shape)
    image = path.rename(path.with_suffix('.img'))
    image.write_bytes(content)
    return image


@pytest.mark.parametrize('name', READ)
def test_read_alike(tmp_path, name):
    make, true = READ[name]
    shape = (WIDTH, HEIGHT) if name.startswith(TURNED) else (HEIGHT, WIDTH)
    path = write(tmp_path, make(), shape)
    image = read_image(path)
    np.testing.assert_array_equal(trained_on(tmp_path), image)
    assert image.shape == (*shape, 3)
    if true is not None:
        assert np.abs(image[..., ::-1].astype(int) - true).max() <= 1
    faults = verify(config_file(tmp_path, img_suffix='.img'), processes=1).faults
    if name.startswith(('EXIF', 'transparent')):
        assert {fault.severity for fault in faults} == {'biases'}
    else:
        assert faults == []


@pytest.mark.parametrize('name', REFUSED)
def test_refused_alike(tmp_path, name):
    make, kind = REFUSED[name]
    path = write(tmp_path, make())
    with pytest.raises(UserError, match=f'a.img: {kind}'):
        read_image(path)
    with pytest.raises(UserError, match=f'a.img: {kind}'):
        trained_on(tmp_path)
    faults = verify(config_file(tmp_path, img_suffix='.img'), processes=1).faults
    assert [(fault.kind, fault.path) for fault in faults] == [(kind, str(path))]
    assert SEVERITY[kind] == 'breaks'


@pytest.mark.parametrize('name', [name for name in READ if name.startswith('transparent')])
def test_transparent_images_are_named(tmp_path, name):
    path = write(tmp_path, READ[name][0]())
    faults = verify(config_file(tmp_path, img_suffix='.img'), processes=1).faults
    assert [(fault.kind, fault.path) for fault in faults] == [('transparency', str(path))]


@pytest.mark.parametrize('color_type', ['grayscale', 'unchanged'])
@pytest.mark.parametrize('content', [JPEG, PNG, opencv(deep(16), '.png'), transparent('RGBA')])
def test_the_loaders_options_decide(tmp_path, color_type, content):
    """A network for deep images is given their values as they are."""
    path = write(tmp_path, content)
    pipeline = [dict(type='LoadImageFromFile', color_type=color_type), *PIPELINE[1:]]
    loading = Loading.of(pipeline)
    if color_type == 'grayscale' and content == opencv(deep(16), '.png'):
        with pytest.raises(UserError, match='low values'):
            read_image(path, loading=loading)
        return
    image = read_image(path, loading=loading)
    trained = trained_on(tmp_path, pipeline=pipeline)
    np.testing.assert_array_equal(trained.reshape(image.shape), image)
    assert as_bgr(image).shape == (HEIGHT, WIDTH, 3) and as_bgr(image).dtype == np.uint8
    config = config_file(tmp_path, img_suffix='.img', pipeline=pipeline)
    kinds = [fault.kind for fault in verify(config, processes=1).faults]
    dropped = color_type == 'grayscale' and content == transparent('RGBA')
    assert kinds == (['transparency'] if dropped else [])


def test_reduced_copies_of_a_tiff_are_no_pages(tmp_path):
    """Overviews, as geographic programs add them."""
    path, small = tmp_path / 'a.tif', rgb().reduce(2)
    rgb().save(path, save_all=True, append_images=[small])
    with pytest.raises(UserError, match='2 frames'):
        read_image(path)
    small.encoderinfo = dict(tiffinfo={254: 1})
    rgb().save(path, save_all=True, append_images=[small])
    assert np.array_equal(read_image(path)[..., ::-1], np.asarray(rgb()))


def test_unknown_loaders_are_left_alone(tmp_path):
    """A reader of another format decides itself what it can read."""
    assert Loading.of([dict(type='LoadBiomedicalImageFromFile')]) is None
    write(tmp_path, b'values of an instrument')
    config = config_file(
        tmp_path, img_suffix='.img', pipeline=[dict(type='LoadBiomedicalImageFromFile')]
    )
    assert verify(config, processes=1).faults == []


def test_masks_with_long_text_and_trailing_bytes(tmp_path):
    write_pair(tmp_path)
    mask = tmp_path / 'masks/a.png'
    text = READ['long text'][0]()
    chunk = text[33 : text.index(b'IDAT') - 4]
    plain = mask.read_bytes()
    mask.write_bytes(plain[:33] + chunk + plain[33:] + bytes(1000))
    assert build(tmp_path)[0]['data_samples'].gt_sem_seg.data.unique().tolist() == [0, 1]
    assert verify(config_file(tmp_path), processes=1).faults == []
