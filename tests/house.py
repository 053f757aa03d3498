"""The rooms of the package and their floors, read from the imports.

python -m tests.house      draws docs/images/architecture.svg
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.paths import ROOT

PACKAGE = ROOT / 'mmseg_pan'
PICTURE = ROOT / 'docs/images/architecture.svg'

#: A room imports only from floors below its own. Single modules of the package's root are floor 0.
FLOORS = {
    5: ('experiments',),
    4: ('cli', 'inference', 'export'),
    3: ('conversion', 'engine', 'verification', 'reports', 'voc', 'annotations'),
    2: ('evaluation', 'benchmarks', 'weights'),
    1: ('configs', 'datasets', 'models'),
    0: ('devices', 'errors', 'figures', 'files', 'fonts', 'outputs', 'parallel', 'processes'),
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}


def modules() -> Iterator[Path]:
    """Every module of the package, without the package's own ``__init__.py``."""
    return (path for path in sorted(PACKAGE.rglob('*.py')) if path != PACKAGE / '__init__.py')


def room_of(path: Path) -> str:
    """The room of a module; a module of the package's root is its own."""
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def imports(path: Path) -> Iterator[str]:
    """Dotted names of the package's modules that a module imports, inside functions too."""
    here = ('mmseg_pan', *path.relative_to(PACKAGE).with_suffix('').parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith('mmseg_pan.'))
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            target = '.'.join([*base, *([node.module] if node.module else [])])
            if target.split('.')[0] == 'mmseg_pan':
                for name in node.names:
                    module = PACKAGE.joinpath(*target.split('.')[1:], f'{name.name}.py')
                    folder = module.with_suffix('')
                    yield f'{target}.{name.name}' if module.is_file() or folder.is_dir() else target


def room_imports() -> set[tuple[str, str]]:
    """Pairs of rooms, of which the first imports the second."""
    found = set()
    for path in modules():
        for name in imports(path):
            parts = name.split('.')
            if len(parts) > 1 and parts[1] != room_of(path):
                found.add((room_of(path), parts[1]))
    return found


def draw() -> str:
    """Rooms as boxes, floor by floor, and an arrow from each room to those that it imports.

    Arrows to floor 0 are left out: every room may import it.
    """
    width, box, row = 960, (150, 44), 120
    places = {}
    for floor, rooms in FLOORS.items():
        for number, room in enumerate(rooms):
            x = width * (number + 0.5) / len(rooms)
            places[room] = (x, 50 + (max(FLOORS) - floor) * row)
    lines = []
    arrows = sorted(pair for pair in room_imports() if FLOOR_OF[pair[1]])
    leaving = {}  # targets of a room from left to right, so that its arrows do not cross
    for first, second in sorted(arrows, key=lambda pair: places[pair[1]][0]):
        leaving.setdefault(first, []).append(second)
    for first, targets in leaving.items():
        for number, second in enumerate(targets):
            (x0, y0), (x1, y1) = places[first], places[second]
            x0 += box[0] * ((number + 1) / (len(targets) + 1) - 0.5)
            y0, y1 = y0 + box[1] / 2, y1 - box[1] / 2 - 5
            middle = (y0 + y1) / 2
            lines.append(
                f'<path d="M{x0:.0f},{y0:.0f} C{x0:.0f},{middle:.0f} {x1:.0f},{middle:.0f} '
                f'{x1:.0f},{y1:.0f}" class="arrow" marker-end="url(#head)"/>'
            )
    for room, (x, y) in places.items():
        kind = 'base' if FLOOR_OF[room] == 0 else 'room'
        side = min(box[0], width // len(FLOORS[FLOOR_OF[room]]) - 12)
        lines.append(
            f'<rect x="{x - side / 2:.0f}" y="{y - box[1] / 2:.0f}" width="{side}" '
            f'height="{box[1]}" rx="6" class="{kind}"/>'
            f'<text x="{x:.0f}" y="{y + 6:.0f}">{room}</text>'
        )
    height = 50 + max(FLOORS) * row + 50
    style = (
        'text{font:16px sans-serif;text-anchor:middle;fill:#222}'
        '.room{fill:#dbe9f6;stroke:#3b6ea5}.base{fill:#eee;stroke:#888}'
        '.arrow{fill:none;stroke:#3b6ea5;stroke-opacity:.55;stroke-width:1.5}'
    )
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#3b6ea5"/></marker>'
    )
    return '\n'.join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}">',
            f'<style>{style}</style><defs>{head}</defs>',
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            *lines,
            '</svg>\n',
        ]
    )


if __name__ == '__main__':
    PICTURE.write_text(draw())
    print(f'Written: {PICTURE}')
