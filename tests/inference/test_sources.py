"""Which files a command line stands for, and what their results are called."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmseg_pan.errors import UserError
from mmseg_pan.inference.sources import find_sources

OUT = Path('out')


@pytest.fixture(autouse=True)
def _files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        'photos/a.jpg',
        'photos/b.PNG',
        'photos/notes.txt',
        'photos/.hidden.jpg',
        'photos/.cache/c.jpg',
        'photos/deep/er/a.jpg',
        'photos/deep/clip.mp4',
        'photos/.d.jpg.12.part',
        'other/a.jpg',
        'single.weird',
        'one[1].jpg',
    ):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def names(*arguments: str, out: Path = OUT, kind: str = 'palette') -> dict[str, str]:
    """Map each input to the name of its result."""
    return {str(s.path): str(s.name) for s in find_sources(arguments, out, kind)}


def test_folder_keeps_its_sub_folders_and_leaves_out_what_is_hidden_or_unknown():
    assert names('photos') == {
        'photos/a.jpg': 'a',
        'photos/b.PNG': 'b',
        'photos/deep/er/a.jpg': 'deep/er/a',
        'photos/deep/clip.mp4': 'deep/clip',
    }


def test_file_may_have_any_suffix_or_brackets():
    assert names('single.weird', 'one[1].jpg') == {'single.weird': 'single', 'one[1].jpg': 'one[1]'}


def test_pattern_names_files_below_its_fixed_part():
    assert names('photos/*') == {'photos/a.jpg': 'a', 'photos/b.PNG': 'b'}
    assert names('photos/**/a.jpg') == {'photos/a.jpg': 'a', 'photos/deep/er/a.jpg': 'deep/er/a'}
    assert names('photos/d*/*/*.jpg') == {'photos/deep/er/a.jpg': 'deep/er/a'}


def test_a_file_named_twice_is_taken_once():
    assert names('photos/a.jpg', './photos/a.jpg', 'photos/*.jpg') == {'photos/a.jpg': 'a'}


def test_output_folder_is_no_input():
    Path('photos/out/deep').mkdir(parents=True)
    Path('photos/out/a.png').touch()
    Path('photos/out/deep/a.png').touch()
    Path('link').symlink_to('photos')
    for out in (Path('photos/out'), Path('photos/../photos/out'), Path('link/out')):
        assert len(names('photos', out=out)) == 4
        assert set(names('photos/**', out=out)) == set(names('photos', out=out))


def test_folder_named_like_an_image_is_an_input_to_be_refused_later():
    Path('photos/x.jpg').mkdir()
    Path('photos/x.jpg/inner.jpg').touch()
    assert 'photos/x.jpg' in names('photos')
    assert 'photos/x.jpg/inner.jpg' not in names('photos')


def test_targets():
    image, video = find_sources(['photos/a.jpg', 'photos/deep/clip.mp4'], OUT, 'overlay')
    assert image.target(OUT, 'overlay') == OUT / 'a.png'
    assert video.target(OUT, 'overlay') == OUT / 'clip.mp4'
    assert video.target(OUT, 'classes') == OUT / 'clip'
    dotted = find_sources(['one[1].jpg'], OUT, 'overlay')[0]
    assert dotted.target(OUT, 'overlay').name == 'one[1].png'


def test_dots_in_names_are_kept():
    Path('a.b.jpg').touch()
    Path('a.c.jpg').touch()
    assert names('a.b.jpg', 'a.c.jpg') == {'a.b.jpg': 'a.b', 'a.c.jpg': 'a.c'}


@given(st.sets(st.sampled_from(['a', 'b', 'd/a', 'd/b', 'd/e/a', 'é', 'a b']), min_size=1))
def test_no_two_inputs_of_a_folder_share_a_result(tmp_path_factory, stems):
    folder = tmp_path_factory.mktemp('folder')
    for stem in stems:
        (folder / stem).parent.mkdir(parents=True, exist_ok=True)
        (folder / f'{stem}.jpg').touch()
    sources = find_sources([str(folder)], OUT, 'palette')
    assert {str(source.name) for source in sources} == stems


@pytest.mark.parametrize(
    'arguments, kind, message',
    [
        (['nothing.jpg'], 'overlay', r'nothing\.jpg does not exist'),
        (['photos/*.bmp'], 'overlay', r'No image or video fits the pattern photos/\*\.bmp'),
        (['empty'], 'overlay', r'empty holds no image or video .*\.jpg'),
        (['photos/a.jpg', 'other'], 'overlay', r'photos/a\.jpg and other/a\.jpg would both.*out/a'),
        (['photos', 'photos/deep'], 'overlay', None),
        (['photos/deep', 'clip'], 'overlay', None),
        (['photos/deep', 'clip'], 'classes', r'deep/clip\.mp4 and clip/clip/1\.jpg would both'),
    ],
)
def test_mistakes(arguments, kind, message):
    Path('empty').mkdir()
    Path('clip/clip').mkdir(parents=True)
    Path('clip/clip/1.jpg').touch()
    if message is None:
        assert names(*arguments, kind=kind)
        return
    with pytest.raises(UserError, match=message):
        find_sources(arguments, OUT, kind)
    assert not OUT.exists()


def test_results_never_take_an_inputs_place():
    Path('p.png').touch()
    with pytest.raises(UserError, match=r'p\.png would overwrite the input p'):
        find_sources(['p.png'], Path('.'), 'overlay')
    with pytest.raises(UserError, match=r'\.\. is the folder of the images'):
        find_sources(['photos'], Path('photos/deep/..'), 'overlay')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may list everything')
def test_folder_that_cannot_be_listed():
    Path('photos/deep').chmod(0)
    with pytest.raises(UserError, match='photos/deep cannot be listed'):
        find_sources(['photos'], OUT, 'overlay')
    Path('photos/deep').chmod(0o700)
