"""Where nodes come from: one interface, three providers (kind, embedded, external)."""
