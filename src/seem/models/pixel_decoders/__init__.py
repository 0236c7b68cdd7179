"""Feature pyramid to mask features and three levels for the decoder."""
