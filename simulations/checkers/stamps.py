"""Order of versions, as the text that peers answer with tells it."""


def stamp_of_version(version: str | None) -> int:
    """Return the stamp that a version's text begins with; equal ones are ordered by what only records tell.

    Raises:
        AssertionError: The text is no version: peers answered nonsense.
    """
    assert version is not None, "an answered write has a version"
    stamp, dash, _ = version.partition("-")
    assert dash and len(stamp) == 16, f"{version!r} is no version"
    return int(stamp, 16)
