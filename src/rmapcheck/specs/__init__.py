"""Specs of all schemes for `rmapcheck prove`: what the rmap does, in the logic."""
