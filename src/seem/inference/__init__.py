"""One encoded image, asked: prompts to masks, and what is recognized without prompts."""
