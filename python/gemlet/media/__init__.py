"""Pictures and films as arrays of pixels. Decodes what others encoded (the extra `media`); knows no model.

Each module is imported by who needs it, so that pictures do not cost what films need.
"""

from __future__ import annotations
