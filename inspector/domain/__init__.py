"""What is judged and how: parts, frames, verdicts, deadlines, thresholds, errors. Pure, without I/O."""
