"""What the project claims, measured; the runtime never imports it."""
