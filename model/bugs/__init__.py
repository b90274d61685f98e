"""Historical bugs: each is a subclass that overrides one decision of the scheme that had it."""
