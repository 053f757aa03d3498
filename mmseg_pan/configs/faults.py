"""What is wrong with a config file that cannot be read, in one sentence."""

import ast
import json
import os
import re
from pathlib import Path

import yaml
from mmengine.config.utils import ConfigParsingError

#: Of the files that mmengine reads configs from.
SUFFIXES = ('.py', '.json', '.yaml', '.yml')

#: What reading a config raises where the file, or one that it inherits from, is at fault.
FAULTS = (
    SyntaxError,
    NameError,
    FileNotFoundError,
    IsADirectoryError,
    UnicodeDecodeError,
    ConfigParsingError,
    json.JSONDecodeError,
    yaml.YAMLError,
)


def describe_fault(path: Path, error: Exception) -> str:
    """Say which file is at fault, where, and what to do.

    Args:
        path: The config that was to be read.
        error: One of :data:`FAULTS`.
    """
    reason = str(getattr(error, 'problem', None) or getattr(error, 'msg', None) or error)
    reason = reason.splitlines()[0][:100]
    if isinstance(error, SyntaxError):
        line = f', line {error.lineno}' if error.lineno else ''
        return f'{_culprit(path, error)}{line}, is no valid Python ({reason}); correct it.'
    if isinstance(error, (FileNotFoundError, IsADirectoryError, ConfigParsingError)):
        missing = getattr(error, 'filename', None) or _quoted(str(error))
        return f'{path} inherits from or reads {missing}, which is no file; correct _base_.'
    if isinstance(error, NameError):
        return f'{path} cannot be read ({reason}); define the name, or correct it.'
    return f'{path} cannot be read as {path.suffix[1:]} in UTF-8 ({reason}); correct it.'


def describe_conflict(path: Path, error: KeyError | TypeError | ValueError) -> str | None:
    """Say what is at odds with a config: the files that it inherits from, or the environment.

    Python 3.10 reports null bytes here, too, and not as a syntax error.

    Args:
        path: The config that was to be read.
        error: From mmengine.

    Returns:
        None for another defect.
    """
    reason = str(error.args[0] if error.args else '')
    variable = re.match(r'`(\w+)` cannot be found in `os.environ`', reason)
    if variable:
        name = variable[1]
        found, other = 'is not set', ''
        if name in os.environ:
            found, other = 'is empty', f', or "unset {name}" if the config has a default'
        return (
            f'{path} reads the environment variable {name}, which {found}; '
            f'type "export {name}=VALUE"{other}.'
        )
    if 'among bases' in reason or 'base config' in reason:  # keys of two files, or other types
        return f'{path} does not fit the files in _base_: {reason[:150]}'
    if isinstance(error, ValueError) and 'null bytes' in reason:
        return describe_fault(path, SyntaxError(reason))
    return None


def _culprit(path: Path, error: SyntaxError) -> str:
    """The file with the syntax error: mmengine parses texts without their names."""
    if error.filename and Path(error.filename).is_file():
        return error.filename  # a module that the config imports
    return str(_broken(path) or f'{path}, or a file that it inherits from')


def _broken(path: Path) -> Path | None:
    """The first config that does not parse, of a config and those that it inherits from."""
    try:
        tree = ast.parse(path.read_text(encoding='utf-8'))
    except (SyntaxError, ValueError):  # null bytes are a ValueError in older versions of Python
        return path
    except OSError:
        return None
    for base in _bases(tree):
        found = _broken(path.parent / base)
        if found:
            return found
    return None


def _bases(tree: ast.Module) -> list[str]:
    """Names of the files that a config inherits from: ``_base_``, or ``with read_base()``."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '') == '_base_':
            strings = (part for part in ast.walk(node.value) if isinstance(part, ast.Constant))
            found += [part.value for part in strings if isinstance(part.value, str)]
        elif isinstance(node, ast.ImportFrom) and node.level and node.module:
            found.append('../' * (node.level - 1) + node.module.replace('.', '/') + '.py')
    return [name for name in found if name.endswith('.py')]


def _quoted(text: str) -> str:
    """The name of a file in a message of mmengine."""
    return text.split('"')[1] if text.count('"') > 1 else text.split(' not found')[0][:120]


def import_failed(path: str | Path, error: ImportError) -> str:
    """Name the module that a config imports and that cannot be imported."""
    reason = error
    while isinstance(reason.__cause__ or reason.__context__, ImportError):
        reason = reason.__cause__ or reason.__context__
    if isinstance(reason, ModuleNotFoundError) and reason.name:
        return (
            f'{path} imports the module {reason.name}, which cannot be found; type '
            '"PYTHONPATH=FOLDER" before the command, with the folder that holds it.'
        )
    text = str(reason).splitlines()[0][:120]
    return f'A module that {path} imports cannot be imported ({text}); correct custom_imports.'
