"""What is counted: each metric is updated object by object or photo by photo, and computes a frozen result."""
