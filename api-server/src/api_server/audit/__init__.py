"""Reading the audit log, and proving that nobody changed it. It is written by `audit_trail`, not here."""
