"""Render self-contained HTML pages with charts, and measure networks, inference engines and training."""
