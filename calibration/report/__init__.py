"""What a comparison of detectors looks like: tables, JSON, and one self-contained HTML page."""
