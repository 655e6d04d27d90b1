"""The paper's two networks: detection and classification."""
