"""Optional neighbours, imported only when they are used."""
