"""Pages, docstrings, comments, help texts and messages have no phrase that one reads twice."""

import re

import pytest

from tests.paths import ROOT

#: Phrases that were found here once, as regular expressions, and what to write instead.
PHRASES = {
    r'\bBy (?:AdamW|SGD|the zoo)': 'With AdamW',
    r'it is \w+ that gains': 'PAN improves',
    r'\b(?:could not|cannot|can) be had\b': 'could not be loaded, is available',
    r'what is not run|is not run yet': 'what was not tested',
    r'seconds say little': 'the times are only a rough guide',
    r'mark to measure (?:it|them) by': 'for comparison',
    r'\bcomes? of\b': 'is computed from, was trained on',
    r'[Ll]isten no more|\bStart to listen': 'install or remove the handlers',
    r'\bgone on with\b': 'continued',
    r'\bgo(?:es)? on (?:from|with|at|where)\b|\bto go on\b': 'continue',
    r'what is done is not done twice': 'finished steps are skipped',
    r'(?:answered|told|said|ends?|ending) (?:in|by|with) (?:a|one) sentence': 'an error message',
    r'\binto a sentence\b|a sentence (?:that (?:says|names)|for each)': 'an error message',
    r'\bone sentence says\b|a full disk is a sentence': 'an error message',
    r'\b(?:models?|configs?|networks?) of others\b|by others on all': 'other networks',
    r'\ba config of (?:its|your|yours|their)\b|of its own kind': 'a separate config',
    r'\bconfigs of yours\b|\ba (?:photograph|checkpoint) of yours\b': 'your configs',
    r'the lists? of before|the former `|\bformer line\b': 'the old list',
    r'\b[Aa] mistake of yours\b|mistakes? that a user can': 'a user error',
    r'\ba defect of (?:ours|a library)\b|is a defect\b': 'a bug',
    r'\b(?:can|be) mend(?:ed)?\b|\bmend (?:it|or|the)\b|\bthat mends\b': 'fix',
    r'\bafresh\b': 'from scratch',
    r'\bin silence\b|\bwithout a word\b': 'silently',
    r'\bwhole or (?:absent|not at all)\b': 'complete; written atomically',
    r'\bis (?:not )?there (?:already|any more)\b|[Tt]here already:': 'exists, no longer exists',
    r'\bgive yourself the right\b': 'get permission',
    r'\bmake room\b': 'free space',
    r'\bis at (?:work|it)\b|\bat work on\b': 'is running, is using',
    r'\bin vain\b|\bfor want of\b': 'for nothing, for lack of',
    r'\b(?:is|was|were|are) kept[ -]out\b|\bkept-out\b': 'held out',
    r'\btrainings\b': 'training runs',
    r'\b(?:drives|breaks|biases|bias|beside|of|in|that) a training(?! [a-z])': 'training, a run',
    r'\bin the place of\b|\bin \w+\'s place\b': 'instead of',
    r'\bput right\b|\bbroken off\b': 'corrected, interrupted',
    r'\ball but black\b': 'nearly black',
    r'\band kin\b': 'and its variants',
    r'\bholds? the truth\b': 'covers the true value',
    r'\bseeds? (?:a|on a) side\b': 'seeds per recipe',
    r'\bTraps\b|\bProve it\b|\bBudgets\b|\bRead together:': 'Pitfalls, Goals, Summary',
    r'\b[Ww]e wanted\b|\| wanted \|': 'the goal was',
    r'\b(?:was|were) not (?:looked into|found out)\b': 'was not investigated',
    r'\bWhat a person wants\b|\bthat a person can act on\b': 'summary; actionable',
    r'\b(?:as|what) people (?:have|pass|name)\b': 'existing; inputs',
    r'\bhelps nobody\b|\bof use then\b': 'cannot be used',
    r'\b[Rr]ead (?:the )?ratios\b': 'compare the ratios',
    r'\blook after the\b': 'check',
    r'\bwhoever gets\b': 'keep in mind',
    r'\bfiles? of experiments\b': 'experiment file',
    r'--\w+ goes with\b': 'needs --report',
    r'\bonce more to exit\b': 'send it again to exit',
    r'\bbut for rounding\b': 'up to rounding',
    r'\b(?:is|are) seen in (?:overlapping )?windows\b': 'is processed in windows',
    r'\b(?:whose|its|their) makers? (?:you )?trust\b|\bwhose maker\b': 'a trusted source',
    r'\bruns? the code (?:it|they) holds?\b': 'run code',
    r'\btravel inside\b|\bare one piece\b': 'are stored in the file',
    r'\b[Tt]rained for a moment\b': 'short training runs',
    r'\bit is through\b': 'training finished',
    r'\bthe look at each\b|\bWhat drives\b': 'the training loop',
    r'\bnot even the sign is\.': 'not even the sign is resolved',
}


def prose(text: str) -> str:
    """Text in one line: without comment signs, and the quotes between parts of a string."""
    joined = re.sub(r'[\'"]?\n[ \t]*(?:[rf]*[\'"]|#+|[*>-] )?', ' ', text)
    return re.sub(r'\s+', ' ', joined)


def pages() -> list[str]:
    """Every file with words in it, by its path from the repository's root."""
    found = [*ROOT.glob('*.md'), ROOT / '.ci/run']
    for folder in ('configs', 'docs', 'mmseg_pan', 'tests', 'tools'):
        found += [
            f for f in (ROOT / folder).rglob('*.*') if f.suffix in ('.md', '.py', '.yaml', '.sh')
        ]
    return sorted(f.relative_to(ROOT).as_posix() for f in found if f.name != 'test_language.py')


def phrases_in(text: str) -> list[str]:
    """Each phrase of the list that a text has, with what to write instead."""
    text = prose(text)
    return [
        f'"{found[0]}": {better}'
        for phrase, better in PHRASES.items()
        for found in re.finditer(phrase, text)
    ]


def test_no_phrase_of_the_list_is_on_a_page():
    found = {page: phrases_in((ROOT / page).read_text()) for page in pages()}
    assert not {page: phrases for page, phrases in found.items() if phrases}


def test_every_kind_of_text_is_read():
    read = pages()
    assert {name.rpartition('.')[2] for name in read} >= {'md', 'py', 'yaml', 'sh'}
    assert {'README.md', 'docs/trust.md', 'mmseg_pan/cli/run.py', 'tools/train.py'} <= set(read)
    assert len(PHRASES) >= 40


@pytest.mark.parametrize(
    'text',
    [
        'It saves, and\ncan be gone\non with.',
        '    # a checkpoint is whole\n    # or absent\n',
        "raise UserError(\n    f'{path} could not '\n    'be had; type'\n)",
        '"""The weights come of photographs."""',
    ],
    ids=['page', 'comment', 'message', 'docstring'],
)
def test_a_phrase_is_found_over_the_end_of_a_line(text):
    assert len(phrases_in(text)) == 1
