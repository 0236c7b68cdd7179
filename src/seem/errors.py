"""What goes wrong although the call was right; a wrong call is a `ValueError`."""


class SeemError(OSError):
    """Work that failed: a file, a download, a device. One line: what, which value, and the way out."""
