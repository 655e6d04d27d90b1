"""Where to measure next: dynamic sampling of label images."""
