"""What was said before a clip, in the words of its video."""

import hashlib
from collections.abc import Sequence

from ...cache.manifest import Clip, Manifest


class Before:
    """The last `count` utterances before a clip, oldest first; none if `count` is 0.

    Of the clip's video they are those of its own split, so that nothing of the test clips enters a
    training clip where a corpus splits within videos; the clip's own `context_text` is nearest to
    it and comes last. Utterances without words are passed over.
    """

    def __init__(self, count: int, manifest: Manifest | None) -> None:
        self.count = count
        clips = manifest.clips if manifest and count else ()
        self._said = {clip.id: (clip.split, clip.text) for clip in clips}

    def __call__(self, clip: Clip) -> tuple[str, ...]:
        """The utterances before `clip`."""
        if not self.count:
            return ()
        nothing = (None, "")
        said = [self._said.get(id_, nothing) for id_ in clip.context]
        texts = [text for split, text in said if split == clip.split] + list(clip.context_text)
        return tuple([text for text in texts if text.strip()][-self.count :])


def text_source(before: Sequence[str], clip: Clip) -> str:
    """16 hex digits of what a clip's text features are made from: its words and those before."""
    said = "\x1e".join([*before, clip.text])
    return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
