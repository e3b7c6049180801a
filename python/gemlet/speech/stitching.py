"""Two readings of sound that overlaps, as one text. Knows words only."""

from __future__ import annotations

from difflib import SequenceMatcher

_TAIL = 40  # words at the end of one reading, and the start of the next, that may be the same sound


def plain(word: str) -> str:
    """A word as it is compared: without case and punctuation.

    >>> plain("Right,")
    'right'
    """
    return "".join(letter for letter in word.lower() if letter.isalnum())


def joint(before: str, text: str) -> str:
    """What of `text` comes after `before`, where its beginning may repeat the end of `before`.

    >>> joint(" so we went down to the", " down to the sea, and swam")
    ' sea, and swam'
    >>> joint(" one thing", " another thing altogether")
    ' another thing altogether'
    """
    spaced = text.count(" ") * 12 > len(text)  # else a script without spaces, whose letters are compared
    words = text.split() if spaced else list(text)
    old = [plain(word) for word in (before.split() if spaced else list(before))[-_TAIL:]]
    new = [plain(word) for word in words[:_TAIL]]
    match = SequenceMatcher(None, old, new, autojunk=False).find_longest_match()
    # The repetition lies at the end of one and at the start of the other, but for a word that the cut broke.
    if match.size < 2 or match.a + match.size < len(old) - 2 or match.b > 2:
        return text
    left = words[match.b + match.size :]
    return f" {' '.join(left)}" if left and spaced else "".join(left)


def agreed(first: str, second: str) -> str:
    """The words with which both texts begin, as the second has them; a last word that may go on is left out.

    >>> agreed(" And so, my", " And so my fel")
    ' And so my'
    """
    words = second.split(" ")
    count = 0
    for old, new in zip(first.split(" "), words, strict=False):
        if plain(old) != plain(new):
            break
        count += 1
    return " ".join(words[:count])
