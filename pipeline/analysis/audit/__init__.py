"""The audit of ``pilotune verify``. Imported only when it is used, since it needs SQLAlchemy and Optuna."""

from .findings import Audit, AuditFinding
from .run import audit

__all__ = ["Audit", "AuditFinding", "audit"]
