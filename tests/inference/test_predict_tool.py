"""tools/predict.py as a user types it: files, exit codes, sentences, videos."""

import os
import runpy
import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmseg_pan.errors import UserError
from mmseg_pan.inference import load_segmentor, prediction
from mmseg_pan.inference.images import read_image
from mmseg_pan.inference.pictures import Painter
from mmseg_pan.inference.prediction import predict_sources
from mmseg_pan.inference.predictor import Predictor
from mmseg_pan.inference.sources import Source
from mmseg_pan.inference.videos import Video, write_video
from mmseg_pan.weights.published import SHIPPED
from tests.inference.odd_files import photograph, write_broken, write_good
from tests.paths import ROOT, TOY


@pytest.fixture
def predict(monkeypatch, capsys, toy_checkpoint, tmp_path):
    """Run the tool in this process, in ``tmp_path``, without the seconds of importing."""
    monkeypatch.chdir(tmp_path)

    def call(*args, code: int = 0, checkpoint=toy_checkpoint) -> subprocess.CompletedProcess:
        command = ['predict.py', *map(str, args)]
        command += ['--checkpoint', str(checkpoint)] if checkpoint else []
        monkeypatch.setattr(sys, 'argv', command)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools' / 'predict.py'), run_name='__main__')
        output, errors = capsys.readouterr()
        assert (ended.value.code or 0) == code, errors
        assert 'Traceback' not in errors
        return subprocess.CompletedProcess(command, code, output, errors)

    return call


@pytest.fixture
def folder(tmp_path):
    """Three images, one in a sub-folder."""
    folder = tmp_path / 'photos'
    (folder / 'deep').mkdir(parents=True)
    for index, name in enumerate(('a.jpg', 'b.png', 'deep/a.jpg')):
        photograph(60 + index, 44).save(folder / name)
    return folder


def listed(folder) -> list[str]:
    """All files below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


def make_video(path, frames: int = 7, codec: str = 'mp4v') -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 10, (64, 48))
    for index in range(frames):
        writer.write(np.array(photograph(64, 48))[:, :, ::-1] // (1 + index % 2))
    writer.release()


def test_as_typed(run_tool, folder, toy_checkpoint, tmp_path):
    done = run_tool('predict.py', folder, '--checkpoint', toy_checkpoint, '--out', 'out')
    assert done.stdout == '3 written to out\n'
    assert listed(tmp_path / 'out') == ['a.png', 'b.png', 'deep/a.png']


def test_without_a_checkpoint_the_model_in_the_package_is_used(predict, folder, tmp_path):
    assert predict(folder, '--out', 'out', '--format', 'classes', checkpoint=None).stdout
    predictor = Predictor(load_segmentor(SHIPPED))
    (labels,) = predictor.predict([predictor.prepare(read_image(folder / 'a.jpg'))])
    assert np.array_equal(np.array(Image.open(tmp_path / 'out/a.png')), labels)


@pytest.mark.parametrize('kind', ['overlay', 'palette', 'classes'])
def test_formats(predict, folder, toy_checkpoint, tmp_path, kind):
    predict(folder, '--out', 'out', '--format', kind, '--batch', 2)
    model = load_segmentor(toy_checkpoint)
    predictor, painter = Predictor(model), Painter(model.dataset_meta, kind)
    for name in ('a.jpg', 'deep/a.jpg'):
        image = read_image(folder / name)
        (labels,) = predictor.predict([predictor.prepare(image)])
        found = np.asarray(Image.open((tmp_path / 'out' / name).with_suffix('.png')))
        if kind == 'overlay':
            assert found.shape == painter.overlay(image, labels).shape
        else:
            assert found.shape == image.shape[:2]
            assert (found != labels).mean() < 0.001  # folded norms round differently


def test_bad_files_are_named_skipped_and_counted(predict, tmp_path):
    folder = tmp_path / 'mixed'
    folder.mkdir()
    good, broken = write_good(folder), write_broken(folder)
    done = predict('mixed', '--out', 'out', '--format', 'classes', '--batch', 4, code=1)
    assert done.stdout == f'{len(good)} written to out, {len(broken)} skipped\n'
    lines = [line for line in done.stderr.splitlines() if line.startswith('skipped: ')]
    assert len(lines) == len(broken)
    for name in broken:
        assert sum(f'mixed/{name}' in line for line in lines) == 1, name
    expected = sorted(f'{name.rsplit(".", 1)[0]}.png' for name in good)
    assert listed(tmp_path / 'out') == expected
    for name in good:
        mask = Image.open(tmp_path / 'out' / f'{name.rsplit(".", 1)[0]}.png')
        assert mask.size == Image.fromarray(read_image(folder / name)).size


def test_only_bad_files(predict, tmp_path):
    (tmp_path / 'a.jpg').write_text('text')
    done = predict('a.jpg', '--out', 'out', code=1)
    assert done.stdout == '0 written to out, 1 skipped\n'


def test_odd_names_are_printed_as_they_are(predict, tmp_path):
    """No markup, no line breaks of the terminal's width."""
    name = '[bold]' + 'x' * 150 + ' é.jpg'
    (tmp_path / name).touch()
    done = predict(name, '--out', 'out', code=1)
    assert f'skipped: {name} is empty; restore it.' in done.stderr


def test_again_with_the_results_inside_the_input(predict, folder):
    for _ in range(2):
        done = predict(folder, '--out', folder / 'out')
        assert done.stdout.startswith('3 written')
    assert listed(folder / 'out') == ['a.png', 'b.png', 'deep/a.png']


def test_leftovers_of_a_killed_run_go(predict, folder, tmp_path):
    leftover = tmp_path / 'out' / 'deep' / '.a.png.123.part'
    leftover.parent.mkdir(parents=True)
    leftover.touch()
    predict(folder, '--out', 'out')
    assert not leftover.exists()


def test_windows(predict, tmp_path):
    photograph(200, 150).save(tmp_path / 'a.png')
    predict('a.png', '--out', 'whole', '--format', 'classes')
    predict('a.png', '--out', 'parts', '--format', 'classes', '--window', 64)
    whole, parts = (
        np.asarray(Image.open(tmp_path / name / 'a.png')) for name in ('whole', 'parts')
    )
    assert whole.shape == parts.shape == (150, 200)
    assert (whole != parts).any()


def test_memory_stays_flat(toy_checkpoint, tmp_path, monkeypatch):
    """Images are read one batch at a time, and none is kept."""
    images, alive, reader = [], [], prediction.read_image

    def counted(*arguments):
        image = reader(*arguments)
        images.append(weakref.ref(image))
        alive.append(sum(known() is not None for known in images))
        return image

    monkeypatch.setattr(prediction, 'read_image', counted)
    photograph().save(tmp_path / 'a.png')
    sources = [Source(tmp_path / 'a.png', Path(f'{index}')) for index in range(20)]
    model = load_segmentor(toy_checkpoint)
    painter = Painter(model.dataset_meta)
    tally = predict_sources(Predictor(model, batch=2), painter, sources, tmp_path / 'out')
    assert tally.written == 20 and max(alive) <= 3  # a batch, and the variable of the one before


@pytest.mark.parametrize('suffix, codec', [('mp4', 'mp4v'), ('avi', 'MJPG'), ('mkv', 'mp4v')])
def test_video_to_video(predict, tmp_path, suffix, codec):
    make_video(tmp_path / f'clip.{suffix}', codec=codec)
    done = predict(f'clip.{suffix}', '--out', 'out', '--batch', 3)
    assert done.stdout == '1 written to out\n'
    assert listed(tmp_path / 'out') == ['clip.mp4']
    video = Video(tmp_path / 'out' / 'clip.mp4')
    frames = list(video)
    assert len(frames) == 7 and video.rate == pytest.approx(10)
    assert frames[0].shape[0] > 48 and frames[0].shape[1] == 64


def test_video_to_frames_beside_images(predict, folder, tmp_path):
    make_video(folder / 'deep' / 'clip.MOV')
    done = predict(folder, '--out', 'out', '--format', 'classes')
    assert done.stdout == '4 written to out\n'
    names = [f'deep/clip/{index:06d}.png' for index in range(7)]
    assert listed(tmp_path / 'out') == sorted(['a.png', 'b.png', 'deep/a.png', *names])
    assert Image.open(tmp_path / 'out' / names[6]).size == (64, 48)


def test_broken_videos_are_named_like_broken_images(predict, tmp_path):
    make_video(tmp_path / 'whole.mp4')
    make_video(tmp_path / 'long.mkv', frames=60)
    (tmp_path / 'text.mp4').write_text('not a video')
    (tmp_path / 'empty.avi').touch()
    (tmp_path / 'folder.mov').mkdir()
    data = (tmp_path / 'long.mkv').read_bytes()
    (tmp_path / 'cut.mkv').write_bytes(data[: len(data) // 2])
    names = ('text.mp4', 'empty.avi', 'cut.mkv', 'folder.mov')
    files = [name for name in names if name != 'folder.mov']
    done = predict('whole.mp4', *files, '*.mov', '--out', 'out', code=1)
    assert done.stdout == '1 written to out, 4 skipped\n'
    for name in names:
        assert f'skipped: {name} ' in done.stderr
    assert 'ends after ' in done.stderr and 'of 60 frames' in done.stderr
    assert sorted(os.listdir(tmp_path / 'out')) == ['whole.mp4']


def test_failed_video_leaves_nothing(tmp_path):
    def pictures():
        yield np.zeros((48, 64, 3), np.uint8)
        raise UserError('the end')

    with pytest.raises(UserError, match='the end'):
        write_video(tmp_path / 'a.mp4', pictures(), 10)
    assert listed(tmp_path) == [] and not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    'args, message',
    [
        (['nothing.jpg'], r'nothing.jpg does not exist'),
        (['*.bmp'], r'No image or video fits the pattern *.bmp'),
        (['photos/a.jpg', 'photos/deep'], 'would both be written to out/a.png'),
        (['photos', '--device', 'nonsense'], '--device nonsense cannot be used'),
        (['photos', '--config', 'nothing.py'], 'The config nothing.py does not exist'),
        (['photos', '--checkpoint', 'nothing.pth'], 'The checkpoint nothing.pth does not exist'),
    ],
)
def test_mistakes_are_sentences(predict, folder, toy_checkpoint, tmp_path, args, message):
    checkpoint = args[-1] if '--checkpoint' in args else toy_checkpoint
    done = predict(*args, '--out', 'out', code=2, checkpoint=checkpoint)
    errors = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1 and message in errors[0]
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'args, message',
    [
        (['--batch', '0'], "'0' is not a whole number, 1 or more"),
        (['--window', '63'], "'63' is not a whole number, 64 or more"),
        (['--format', 'jpeg'], 'invalid choice'),
    ],
)
def test_wrong_options(predict, folder, args, message):
    assert message in predict(folder, '--out', 'out', *args, code=2).stderr


@pytest.mark.parametrize('out', ['file', 'file/below', 'out'])
def test_output_that_is_no_folder(predict, folder, tmp_path, out):
    (tmp_path / 'file').touch()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'deep').touch()
    done = predict(folder, '--out', out, code=2)
    assert 'is a file, but outputs need a folder of that name' in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_output_that_cannot_be_written(predict, folder, tmp_path):
    (tmp_path / 'out').mkdir(mode=0o500)
    assert 'cannot be written' in predict(folder, '--out', 'out', code=2).stderr


def test_config_of_ones_own(predict, folder):
    assert predict(folder, '--out', 'out', '--config', TOY).stdout == '3 written to out\n'


def test_names_that_fill_the_disk(predict, tmp_path):
    """255 bytes with the suffix: temporary and final names have to fit, too."""
    names = ['図' * 82 + '.jpg', 'x' * 251 + '.jpg', 'y' * 255, 'z.jpg']
    (tmp_path / 'in').mkdir()
    for name in names:
        photograph().save(tmp_path / 'in' / name, 'JPEG')
    files = [Path('in', name) for name in names]
    assert predict(*files, '--out', 'out').stdout == '4 written to out\n'
    found = set(listed(tmp_path / 'out'))
    assert {'図' * 82 + '.png', 'x' * 251 + '.png', 'z.png'} < found
    (shortened,) = (name for name in found if name.startswith('y'))
    assert len(shortened) == 255


def test_name_that_the_disk_refuses_is_skipped_by_name(predict, folder, tmp_path, monkeypatch):
    write = prediction.write_whole

    def refuse(path, *args, **kwargs):
        if path.name == 'b.png':
            raise OSError(36, 'File name too long')
        write(path, *args, **kwargs)

    monkeypatch.setattr(prediction, 'write_whole', refuse)
    done = predict(folder, '--out', 'out', code=1)
    assert f'skipped: {folder}/b.png' in done.stderr
    assert listed(tmp_path / 'out') == ['a.png', 'deep/a.png']


def test_equal_stems_do_not_collide(predict, folder, tmp_path):
    photograph(30, 20).save(folder / 'a.png')
    photograph(20, 30).save(folder / 'b.bmp')
    predict(folder, '--out', 'out', '--format', 'classes')
    sizes = {name: Image.open(tmp_path / 'out' / name).size for name in listed(tmp_path / 'out')}
    assert sizes == {
        'a.jpg.png': (60, 44), 'a.png.png': (30, 20), 'b.png.png': (61, 44),
        'b.bmp.png': (20, 30), 'deep/a.png': (62, 44),
    }  # fmt: skip


def test_file_of_the_user_is_refused_by_name_and_results_are_not(predict, folder, tmp_path):
    predict(folder, '--out', 'out')
    predict(folder, '--out', 'out')
    photograph().save(tmp_path / 'out/b.png')
    before = (tmp_path / 'out/b.png').read_bytes()
    done = predict(folder, '--out', 'out', code=2)
    assert 'error: out/b.png was not written by this tool' in done.stderr
    assert (tmp_path / 'out/b.png').read_bytes() == before


def test_video_of_the_user_is_refused(predict, tmp_path):
    make_video(tmp_path / 'clip.avi', codec='MJPG')
    (tmp_path / 'out').mkdir()
    make_video(tmp_path / 'out/clip.mp4')
    done = predict('clip.avi', '--out', 'out', code=2)
    assert 'out/clip.mp4 was not written by this tool' in done.stderr


@pytest.mark.parametrize('link', [os.symlink, os.link])
def test_input_behind_a_link_is_not_written_to(predict, tmp_path, link):
    photograph().save(tmp_path / 'a.png')
    (tmp_path / 'out').mkdir()
    link(tmp_path / 'a.png', tmp_path / 'out/a.png')
    before = (tmp_path / 'a.png').read_bytes()
    done = predict('a.png', '--out', 'out', code=2)
    assert 'out/a.png would overwrite the input a.png' in done.stderr
    assert (tmp_path / 'a.png').read_bytes() == before


@pytest.mark.parametrize('kind', ['classes', 'palette'])
def test_shorter_video_of_the_same_name(predict, tmp_path, kind):
    make_video(tmp_path / 'clip.mp4', frames=9)
    predict('clip.mp4', '--out', 'out', '--format', kind)
    make_video(tmp_path / 'clip.mp4', frames=4)
    predict('clip.mp4', '--out', 'out', '--format', kind)
    assert listed(tmp_path / 'out') == [f'clip/{index:06d}.png' for index in range(4)]


def test_killed_run_leaves_nothing_after_the_next(predict, tmp_path):
    make_video(tmp_path / 'clip.mp4')
    left = tmp_path / 'out' / '.clip.mp4.123.part'
    left.mkdir(parents=True)
    (left / 'video.mp4').write_bytes(b'half')
    predict('clip.mp4', '--out', 'out')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['clip.mp4']
