"""A version that stands in several files is one version."""

import re

import pytest

import mmseg_pan
from tests.paths import ROOT


def find(file, pattern):
    return re.search(pattern, (ROOT / file).read_text(), re.M)[1]


@pytest.mark.parametrize(
    ('file', 'pattern'),
    [
        ('pyproject.toml', r'^version = "(.+)"'),
        ('CITATION.cff', r'^version: (.+)'),
        ('CHANGELOG.md', r'^## (\d\S+) - '),
    ],
)
def test_every_file_has_the_packages_version(file, pattern):
    assert find(file, pattern) == mmseg_pan.__version__


def test_citation_has_the_date_of_the_changelog():
    version = re.escape(mmseg_pan.__version__)
    released = find('CITATION.cff', r'^date-released: (.+)')
    assert find('CHANGELOG.md', rf'^## {version} - (.+)') == released


def test_checks_before_a_commit_are_those_of_ci():
    """The same programs in .ci/run and .pre-commit-config.yaml, in the pinned versions."""
    ci = set(re.findall(r'^\.venv/bin/(\w+)', (ROOT / '.ci/run').read_text(), re.M))
    text = (ROOT / '.pre-commit-config.yaml').read_text()
    hooks = set(re.findall(r'- id: (\w+)', text))
    assert ci == hooks == {'ruff', 'codespell', 'mypy'}
    revisions = re.findall(r'repo: https://github.com/\S+/(\w+)\S*\n\s+rev: v(\S+)', text)
    assert len(revisions) == 2
    for name, revision in revisions:
        assert find('requirements/tests.txt', rf'^{name}==(\S+)') == revision
