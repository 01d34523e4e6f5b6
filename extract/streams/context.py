"""What was said before a clip, in the words of its video."""

from ...cache.manifest import Clip, Manifest


class PrecedingUtterances:
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
        before = [self._said.get(id_, nothing) for id_ in clip.context]
        texts = [text for split, text in before if split == clip.split] + list(clip.context_text)
        return tuple([text for text in texts if text.strip()][-self.count :])
