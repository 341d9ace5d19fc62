"""Files that lie elsewhere with the same content: told from those that were taken away and others that were added."""

from __future__ import annotations

from collections.abc import Hashable, Mapping


def renamed(removed: Mapping[str, Hashable], added: Mapping[str, Hashable]) -> list[tuple[str, str]]:
    """Pairs of old and new names with one content; a file that kept its own name in another folder goes first.

    Args:
        removed: The content (size and SHA-256, say) of every name that is gone.
        added: That of every name that is new.

    >>> renamed({"0/a.png": "x", "0/b.png": "y"}, {"1/a.png": "x"})
    [('0/a.png', '1/a.png')]
    """
    pairs: list[tuple[str, str]] = []
    for key in (_content_and_own_name, _content):
        old_left, new_left = removed.keys() - {old for old, _ in pairs}, added.keys() - {new for _, new in pairs}
        places: dict[Hashable, list[str]] = {}
        for name in sorted(new_left, reverse=True):
            places.setdefault(key(name, added[name]), []).append(name)
        for name in sorted(old_left):
            if free := places.get(key(name, removed[name])):
                pairs.append((name, free.pop()))
    return sorted(pairs)


def _content_and_own_name(name: str, entry: Hashable) -> Hashable:
    return entry, name.rpartition("/")[2]


def _content(name: str, entry: Hashable) -> Hashable:
    return entry
