"""Photo to feature pyramid (strides 4 to 32)."""
