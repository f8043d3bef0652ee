"""How much one client, one request and all of them together may take; every number can be set."""

import math
from dataclasses import dataclass, fields

from ..errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The limits of a service, in bytes, seconds and numbers of things.

    Raises:
        UsageError: a limit is not a positive number (`rate` may be 0), or one image is larger than a body.
    """

    body_bytes: int = 64 << 20
    """Bytes of a request with images; a body of one large photo, or of some dozens from a phone's preview."""
    image_bytes: int = 32 << 20
    """Bytes of one image file; a photo of 50 megapixels as a fine JPEG has about 25 MB."""
    images: int = 32
    """Images a request: what a person drops at once, and what one batch of the network takes in one go."""
    fields: int = 32
    """Form fields a request; our largest form has six."""
    field_bytes: int = 8 << 10
    """Bytes of one form field: a note of some thousand Japanese characters has room."""
    text_bytes: int = 1 << 20
    """Bytes of a body that is no upload: JSON with the names of some ten thousand images."""
    held_bytes: int = 512 << 20
    """Bytes of all bodies in memory at one time; whoever comes then is asked to come again."""
    pixels: int = 50_000_000
    """Pixels of one image, as everywhere in mitsugo; decoded as RGB it takes 150 MB."""
    connections: int = 800
    """Open connections; a process may usually have 1,024 files, and the model and the gallery need some."""
    header_seconds: float = 10.0
    """Seconds from the begin of a connection, or the first byte of a next request, to whole headers."""
    body_seconds: float = 60.0
    """Seconds from the headers to the whole body, however steadily it trickles; 64 MiB at 9 Mbit/s."""
    idle_seconds: float = 15.0
    """Seconds that a connection is kept for a next request; a page in use asks every few seconds."""
    answer_seconds: float = 30.0
    """Seconds that a request may wait and be worked on before it is told to come again."""
    taking_seconds: float = 120.0
    """Seconds from a whole request to an answer that was taken whole; who does not read it is cut off."""
    drain_seconds: float = 30.0
    """Seconds that accepted requests have to be finished once the service is told to stop."""
    rate: int = 0
    """Requests a minute and client address, 0 for no such limit: on one machine there is but one address."""
    queue: int = 256
    """Images that may wait for the network; at a hundred images a second the last one waits three seconds."""
    decode_seconds: float = 10.0
    """Processor seconds for decoding one image; 50 megapixels of PNG take about two."""
    decode_bytes: int = 1 << 30
    """Bytes of memory for decoding one image: twice 150 MB of pixels, the file, Python and its libraries."""

    def __post_init__(self) -> None:
        for field in fields(self):
            number = getattr(self, field.name)
            least = 0 if field.name == "rate" else math.ulp(0.0)
            if not least <= number < math.inf:
                raise UsageError(f"limit {field.name}: is {number}, expected a positive number")
        if self.image_bytes > self.body_bytes:
            raise UsageError(
                f"limit image_bytes: is {self.image_bytes}, more than a whole body of {self.body_bytes}; "
                f"raise body_bytes, too"
            )
