"""The network: image, text and prompts in, one typed decoder output out."""
