"""Evidence for the report: tables, pictures and steps made from recorded observations, and diagnostics of a cluster."""
