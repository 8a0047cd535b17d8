"""An upload's bytes, as they come, become chunks of whole records; a chunk becomes records again.

Pure and synchronous: it is fed and asked, it never waits, and it holds no more than a chunk, a
record and a piece. It decides where records begin and end and which field stands where; what the
fields hold is ``checking``'s affair. A file that cannot be read is refused as a whole.
"""

from models.imports.reading.chunk_records import records
from models.imports.reading.reader import UploadReader

__all__ = ["UploadReader", "records"]
