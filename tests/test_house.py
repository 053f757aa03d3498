"""The layout of the package: floors, sizes of files and rooms, names."""

import ast
from collections import Counter
from graphlib import TopologicalSorter

import pytest

from tests.house import FLOOR_OF, PACKAGE, PICTURE, draw, imports, modules, room_imports, room_of
from tests.paths import ROOT

LINES = 300
FILES = 12


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in modules()} - {'_quiet', '_stack'}
    assert rooms == set(FLOOR_OF)


def test_rooms_import_only_from_floors_below():
    pairs = room_imports()
    assert len(pairs) > 20
    wrong = {
        (first, second) for first, second in pairs if FLOOR_OF[second] >= FLOOR_OF.get(first, 0)
    }
    # Modules of floor 0 may use each other; the cycle test below covers them.
    assert {pair for pair in wrong if any(FLOOR_OF.get(room, 0) for room in pair)} == set()


def test_no_module_imports_itself_through_others():
    graph = {}
    for path in modules():
        name = '.'.join(('mmseg_pan', *path.relative_to(PACKAGE).with_suffix('').parts))
        graph[name] = set(imports(path))
    assert sum(map(len, graph.values())) > 100
    tuple(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize('folder', ['mmseg_pan', 'tools'])
def test_no_file_is_two_ideas_long(folder):
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (ROOT / folder).rglob('*.py')
    }
    assert len(sizes) > 10
    assert {name: size for name, size in sizes.items() if size > LINES} == {}


def test_no_room_is_crowded():
    files = Counter(room_of(path) for path in modules() if path.name != '__init__.py')
    assert {room: count for room, count in files.items() if count > FILES} == {}


def test_no_two_files_have_one_name():
    names = Counter(path.name for path in modules() if path.name != '__init__.py')
    assert [name for name, count in names.items() if count > 1] == []


def test_no_two_functions_or_classes_have_one_name():
    names = Counter(
        node.name
        for path in modules()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_looks_for_the_repository_around_the_package():
    found = [path for path in modules() if '.parents[' in path.read_text()]
    assert found == []


def test_test_folders_are_not_importable_under_the_rooms_names():
    """``import engine`` must not find tests/engine: only the root is on the path of the tests."""
    settings = (ROOT / 'pyproject.toml').read_text()
    assert 'pythonpath = ["."]' in settings


def test_picture_shows_the_imports_as_they_are():
    assert PICTURE.read_text() == draw(), 'type "python -m tests.house"'
