"""The auditor behind ``pilotune verify``. Imported only where it is used: it needs SQLAlchemy and Optuna."""

from .findings import Audit, AuditFinding
from .run import audit

__all__ = ["Audit", "AuditFinding", "audit"]
