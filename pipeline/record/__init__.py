"""What is kept: studies in their database, campaigns and leases, run directories, a list of this user's studies."""

from .commit import CommitResult, LeaseLost
from .connect import normalize_url
from .mirror import LEARNED, OWNER
from .storage import RecordStorage

__all__ = ["LEARNED", "OWNER", "CommitResult", "LeaseLost", "RecordStorage", "normalize_url"]
