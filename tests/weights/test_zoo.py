import pytest
import torch
from mmengine.config import Config

from mmseg_pan import UserError, cli
from mmseg_pan.weights.zoo import find_download


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    folder = tmp_path / 'checkpoints'
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ('checkpoint', 'ending'),
    [
        ('open-mmlab://resnet101_v1c', 'resnet101_v1c-e67eebb6.pth'),
        ('mmcls://mobilenet_v2', 'mobilenet_v2_batch256_imagenet_20200708-3b2dc3af.pth'),
        ('https://somewhere.org/a/b.pth', 'b.pth'),
    ],
)
def test_names_become_files(checkpoint, ending, hub):
    download = find_download(checkpoint)
    assert download.url.endswith(f'/{ending}')
    assert download.path == hub / ending


@pytest.mark.parametrize('checkpoint', ['open-mmlab://no_such', 'mmcls://no_such', 'a/b.pth'])
def test_nothing_to_download(checkpoint):
    assert find_download(checkpoint) is None


def pretrained(checkpoint):
    init_cfg = dict(type='Pretrained', checkpoint=checkpoint)
    return Config(dict(model=dict(backbone=dict(init_cfg=init_cfg))))


def test_a_file_at_the_place_that_the_error_names_is_found(hub, monkeypatch):
    """No network: the sentence names address and place, and the place is the right one."""

    def offline(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', offline)
    cfg = pretrained('open-mmlab://resnet101_v1c')
    url, path = find_download('open-mmlab://resnet101_v1c')
    with pytest.raises(UserError, match=rf'no network.*download {url} on .*put it at {path}'):
        cli.check_pretrained(cfg)
    torch.save({'weight': torch.zeros(1)}, path)
    cli.check_pretrained(cfg)
